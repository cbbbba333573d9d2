import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBare } from '../../src/xmpp/jid.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'

const JULIET = parseBare(`juliet@${DOMAIN}`)

function start(before?: TestServer): Promise<TestServer> {
  const storage = { url: 'sqlite:meerkat.db' }
  return startServer({ storage, ...(before && { data_dir: before.directory }) })
}

/** A server that has removed an account, but hardly anything of what is kept of it. */
async function brokenOff(): Promise<TestServer> {
  const first = await start()
  await first.createAccount('juliet')
  await first.server.storage.write('insert into vcard (account, xml) values (?, ?)', [
    JULIET.full,
    "<vCard xmlns='vcard-temp'/>",
  ])
  const undo = first.server.hooks.on(
    'remove_user',
    () => {
      throw new Error('the end')
    },
    { by: 'test', order: 1, onError: 'stop' },
  )
  await assert.rejects(first.server.lifecycle.remove(JULIET), /the end/)
  undo()
  assert.equal(await cards(first), 1)
  return first
}

async function cards({ server }: TestServer): Promise<number> {
  return (await server.storage.read('select account from vcard', [])).length
}

test('whoever gets the address of an account gets nothing that a broken off removal has left', async () => {
  await using server = await brokenOff()
  assert.equal(await server.server.lifecycle.register(JULIET, 'another'), true)
  assert.equal(await cards(server), 0)
})

test('a removal that was broken off goes on after the next start', async () => {
  await using first = await brokenOff()
  await first.stop()
  await using second = await start(first)
  let left = await cards(second)
  for (let attempt = 0; left > 0 && attempt < 2_000; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    left = await cards(second)
  }
  assert.equal(left, 0)
})

test('an account that comes while another of its address goes has the data of none', async () => {
  await using server = await start()
  await server.createAccount('juliet')
  const { accounts, lifecycle, hooks } = server.server
  const told: string[] = []
  for (const name of ['remove_user', 'register_user'] as const) {
    hooks.on(name, (account) => {
      told.push(name)
      return account
    })
  }
  const { create } = accounts
  // Another node removes it when this one has seen that nothing is to be removed.
  accounts.create = async (...account) => {
    await accounts.remove(JULIET)
    return await create.apply(accounts, account)
  }

  assert.equal(await lifecycle.register(JULIET, 'another'), true)
  assert.deepEqual(told, ['remove_user', 'register_user'])
  assert.equal(await accounts.isBeingRemoved(JULIET), false)
  assert.equal(await accounts.verifyPassword(JULIET, 'another'), true)
})
