import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PASSWORD, startServer, type TestServer } from '../support/server.ts'

type Attempt = {
  readonly localpart?: string
  readonly password?: string
  readonly mechanism?: string
}

/** On a connection of its own. */
async function tries(server: TestServer, attempt: Attempt = {}): Promise<string | undefined> {
  const client = await server.openStream()
  const answer = await client.tryToAuthenticate({
    localpart: 'romeo',
    password: 'wrong',
    ...attempt,
  })
  await client[Symbol.asyncDispose]()
  return answer.name === 'success' ? 'success' : answer.elements()[0]?.name
}

const WRONG = 'not-authorized'
const LATER = 'temporary-auth-failure'

for (const mechanism of ['PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256']) {
  test(`${mechanism}: an account takes so many wrong passwords over all connections`, async () => {
    await using server = await startServer({ auth: { wrong_passwords_per_account: 3 } })
    await server.createAccount('romeo')

    for (let i = 0; i < 3; i++) assert.equal(await tries(server, { mechanism }), WRONG)
    assert.equal(await tries(server, { mechanism }), LATER)
    // The right one is not told from the others.
    assert.equal(await tries(server, { mechanism, password: PASSWORD }), LATER)
    assert.equal(await tries(server, { mechanism, localpart: 'juliet' }), WRONG)
  })
}

test('an account that does not exist is not told from one that does', async () => {
  await using server = await startServer({ auth: { wrong_passwords_per_account: 2 } })
  await server.createAccount('romeo')
  const told = async (localpart: string) => {
    const answers = []
    for (let i = 0; i < 4; i++) answers.push(await tries(server, { localpart }))
    return answers
  }

  assert.deepEqual(await told('romeo'), [WRONG, WRONG, LATER, LATER])
  assert.deepEqual(await told('nobody'), [WRONG, WRONG, LATER, LATER])
})

test('many connections at the same time get no more', async () => {
  await using server = await startServer({ auth: { wrong_passwords_per_account: 5 } })
  await server.createAccount('romeo')
  for (const mechanism of ['PLAIN', 'SCRAM-SHA-1']) {
    const localpart = mechanism === 'PLAIN' ? 'romeo' : 'juliet'

    const answers = await Promise.all(
      Array.from({ length: 40 }, () => tries(server, { localpart, mechanism })),
    )

    assert.equal(answers.filter((answer) => answer === WRONG).length, 5, mechanism)
    assert.equal(answers.filter((answer) => answer === LATER).length, 35, mechanism)
  }
})

test('one address takes so many, and who has logged in from it still may', async () => {
  await using server = await startServer({ auth: { wrong_passwords_per_address: 4 } })
  await server.createAccount('juliet')
  const own = { localpart: 'juliet', password: PASSWORD }
  assert.equal(await tries(server, own), 'success')

  for (let i = 0; i < 4; i++) assert.equal(await tries(server, { localpart: `user${i}` }), WRONG)

  assert.equal(await tries(server, { localpart: 'user5' }), LATER)
  await server.createAccount('romeo')
  assert.equal(await tries(server, { password: PASSWORD }), LATER)
  assert.equal(await tries(server, own), 'success')
})

test('right passwords do not count', async () => {
  await using server = await startServer({ auth: { wrong_passwords_per_account: 2 } })
  await server.createAccount('romeo')
  for (let i = 0; i < 6; i++) {
    assert.equal(await tries(server, { password: PASSWORD }), 'success')
  }
  assert.deepEqual(
    [await tries(server), await tries(server), await tries(server)],
    [WRONG, WRONG, LATER],
  )
})

test('a reload changes how many, and when counting ends', async () => {
  const auth = { wrong_passwords_per_account: 1, wrong_passwords_window: '1h' }
  await using server = await startServer({ auth })
  await server.createAccount('romeo')
  assert.deepEqual([await tries(server), await tries(server)], [WRONG, LATER])

  await server.reload({ auth: { ...auth, wrong_passwords_per_account: 100 } })

  assert.equal(await tries(server), WRONG)
  assert.equal(await tries(server, { password: PASSWORD }), 'success')
})
