import assert from 'node:assert/strict'
import { commandsWith } from '../../src/admin/commands.ts'
import { UNWATCHED } from '../../src/core/command.ts'
import { modules } from '../../src/modules.ts'
import { adminContext } from '../../src/server-admin.ts'
import type { TestServer } from './server.ts'

const commands = commandsWith(modules)

/** Gives a command to a server, as whoever has its socket. `Result`: what the test expects; nobody checks. */
export async function giveAsOperator<Result>(
  { server }: TestServer,
  name: string,
  args: object = {},
): Promise<Result> {
  const command = commands.find((each) => each.name === name)
  assert.ok(command, `there is no command ${name}`)
  return (await command.run(adminContext(server, '1.2.3'), args, UNWATCHED)) as Result
}
