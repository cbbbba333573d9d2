import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { nodeOf } from '../../src/admin/adhoc/offer.ts'
import { commandsWith } from '../../src/admin/commands.ts'
import { openControl } from '../../src/admin/control.ts'
import { COMMANDS_NS } from '../../src/core/adhoc.ts'
import { silentLogger } from '../../src/core/log.ts'
import { modules } from '../../src/modules.ts'
import { adminContext } from '../../src/server-admin.ts'
import { execute, giveByForm } from '../support/adhoc.ts'
import { giveOverHttp, tokenFor } from '../support/api.ts'
import { giveOnCommandLine } from '../support/cli.ts'
import { conditionOf } from '../support/client.ts'
import { type Case, cases, DOMAIN, type Look, openStage, type Stage } from './cases.ts'

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
    if (typeof result === 'function') await (result as Look)(given as never, stage)
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

test('on the command line, over the socket', async () => {
  await using stage = await openStage()
  const { server, directory } = stage.server
  const path = join(directory, 'admin.sock')
  await using control = await openControl({ path, commands: () => commands, log: silentLogger })
  control.serve(adminContext(server, '1.2.3'))
  await plays(stage, async (name, args) => {
    const command = commands.find((candidate) => candidate.name === name)
    assert.ok(command)
    return await giveOnCommandLine(commands, path, command, args)
  })
})

test('over HTTP', async () => {
  await using stage = await openStage({ http: {} })
  const token = await tokenFor(stage.server, 'admin')
  const url = stage.server.urlOf()
  await plays(stage, (name, args) => giveOverHttp(url, token, name, args))
})

/** Of XEP-0133 and RFC 6120, for each code. */
const CODES: Readonly<Record<string, string>> = {
  'bad-request': 'invalid',
  'item-not-found': 'not-found',
  'service-unavailable': 'unavailable',
}

test('by forms nothing is done for who is no administrator, whoever says so', async () => {
  await using stage = await openStage({
    component: [{}, { check_from: false, secret: 'trusted' }],
    admin: { jids: [`bob@${DOMAIN}`, `root@example.net`] },
  })
  const { server, alice } = stage
  const bob = await server.connect('bob', 'desk', { priority: undefined })
  const gateway = await server.connectComponent('gateway.example.net', {
    listener: 1,
    secret: 'trusted',
  })
  for (const { name } of commands) {
    const node = nodeOf(name)
    await assert.rejects(execute(alice, DOMAIN, { node }), { condition: 'forbidden' }, name)
  }
  // Trusted to speak for others, but not with this.
  const id = 'spoken-for-bob'
  const from = bob.fullJid
  const node = nodeOf('status')
  gateway.send(
    `<iq type='set' from='${from}' to='${DOMAIN}' id='${id}'>` +
      `<command xmlns='${COMMANDS_NS}' node='${node}'/></iq>`,
  )
  const answer = await bob.receives({ name: 'iq', id })
  assert.equal(conditionOf(answer), 'forbidden')
  assert.equal((await execute(bob, DOMAIN, { node })).attr('status'), 'completed')
})

test('by forms in a chat client', async () => {
  await using stage = await openStage({ admin: { jids: [`bob@${DOMAIN}`] } })
  // Not available, so that what waits for the account still waits.
  const bob = await stage.server.connect('bob', 'desk', { priority: undefined })
  await plays(stage, async (name, args) => {
    const command = commands.find((candidate) => candidate.name === name)
    assert.ok(command)
    try {
      return await giveByForm(bob, DOMAIN, command, args)
    } catch (error) {
      const { condition } = error as { readonly condition?: string }
      if (condition === undefined) throw error
      throw Object.assign(new Error(condition), { code: CODES[condition] ?? condition })
    }
  })
})
