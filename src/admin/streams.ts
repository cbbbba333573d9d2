/** Everything that can be followed on a server, each declared once. */
import type { StreamCommand } from './stream-command.ts'
import { watchRoute } from './streams/route.ts'
import { trace } from './streams/trace.ts'

export const streams: readonly StreamCommand[] = [trace, watchRoute]
