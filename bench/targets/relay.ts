import { fileURLToPath } from 'node:url'
import type { Target } from './target.ts'

const program = fileURLToPath(new URL('./relay-process.ts', import.meta.url))

/** For scale: what a plain Node process spends on moving the same messages without any XMPP. */
export const relay: Target = {
  name: 'relay',
  protocol: 'raw',
  variants: ['bare'],
  version: () => process.version,
  launch: ({ port }) => ({ command: [process.execPath, program, String(port)] }),
}
