import assert from 'node:assert/strict'
import { commandsWith } from '../../src/admin/commands.ts'
import { UNWATCHED } from '../../src/core/command.ts'
import { modules } from '../../src/modules.ts'
import { adminContext } from '../../src/server-admin.ts'
import type { TestServer } from './server.ts'

const commands = commandsWith(modules)

// biome-ignore lint/suspicious/noExplicitAny: results are JSON, of whatever shape the command has.
type Json = any

/** Gives a command to a server, as whoever has its socket. */
export function giveAsOperator(
  { server }: TestServer,
  name: string,
  args: object = {},
): Promise<Json> {
  const command = commands.find((each) => each.name === name)
  assert.ok(command, `there is no command ${name}`)
  return command.run(adminContext(server, '1.2.3'), args, UNWATCHED)
}
