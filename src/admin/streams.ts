/** Everything that can be followed on a server, each declared once. */
import type { StreamCommand } from './stream-command.ts'

export const streams: readonly StreamCommand[] = []
