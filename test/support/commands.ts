import assert from 'node:assert/strict'
import { commandsWith } from '../../src/admin/commands.ts'
import { modules } from '../../src/modules.ts'
import { adminContext } from '../../src/server-admin.ts'
import type { TestServer } from './server.ts'

const commands = commandsWith(modules)

/** Gives an administration command in the process itself. Rejects with `CommandError`. */
export async function give(
  { server }: Pick<TestServer, 'server'>,
  name: string,
  args: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const command = commands.find((candidate) => candidate.name === name)
  assert(command !== undefined, `there is no command ${name}`)
  return await command.run(adminContext(server, '1.2.3'), args)
}
