import assert from 'node:assert/strict'
import { test } from 'node:test'
import { commandsWith } from '../../src/admin/commands.ts'
import { modules } from '../../src/modules.ts'
import { adminContext } from '../../src/server-admin.ts'
import { giveOverHttp, tokenFor } from '../support/api.ts'
import { type Case, cases, openStage, type Stage } from './cases.ts'

const commands = commandsWith(modules)

/** Gives a command and resolves to its result, or rejects with an error that has its `code`. */
type Face = (name: string, args: Case['args']) => Promise<unknown>

/** All of the table on one stage. */
async function plays(stage: Stage, face: Face): Promise<void> {
  for (const { command, args, result, refused = [] } of cases) {
    for (const [wrong, code] of refused) {
      const about = `${command} ${JSON.stringify(wrong)}`
      await assert.rejects(face(command, wrong), { code }, about)
    }
    const isRefusedOnly = refused.some(([wrong]) => wrong === args || isSame(wrong, args))
    if (isRefusedOnly) continue
    const given = await face(command, args)
    if (typeof result === 'function') await result(given, stage)
    else assert.deepEqual(given, result, command)
  }
}

function isSame(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

test('the table has every command', () => {
  const played = new Set(cases.map(({ command }) => command))
  const missing = commands.map(({ name }) => name).filter((name) => !played.has(name))
  assert.deepEqual(missing, [])
})

test('in the process itself', async () => {
  await using stage = await openStage()
  const context = adminContext(stage.server.server, '1.2.3')
  await plays(stage, async (name, args) => {
    const command = commands.find((candidate) => candidate.name === name)
    return await command?.run(context, args)
  })
})

test('over HTTP', async () => {
  await using stage = await openStage({ http: {} })
  const token = await tokenFor(stage.server, 'admin')
  const url = stage.server.urlOf()
  await plays(stage, (name, args) => giveOverHttp(url, token, name, args))
})
