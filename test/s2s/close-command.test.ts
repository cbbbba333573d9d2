/** `meerkat s2s close` on connections over which messages go. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { type ApiAnswer, ask, tokenFor } from '../support/api.ts'
import type { Client } from '../support/client.ts'
import { Internet, type ServerWishes } from '../support/federation.ts'
import { type ProsodyWishes, startProsody, withoutProsody } from '../support/prosody.ts'
import { Relay } from '../support/relay.ts'
import type { TestServer } from '../support/server.ts'
import { enable, handles } from '../support/stream-management.ts'

const REMOTE = 'montague.example'
const MESSAGES = 300
/** After so many messages each, the connections are closed. */
const EVERY = 30

/** Ids of messages. */
const LINES = Array.from({ length: MESSAGES }, (_, number) => `line-${number}`)

const line = (to: Client, id: string) =>
  el('message', { to: to.fullJid, type: 'chat', id }, el('body', {}, id))

type Closed = { readonly closed: number }
type Links = {
  readonly connections: readonly [
    {
      readonly node: string
      readonly state: string
      readonly waiting: number
      readonly unacknowledged: number
    },
  ]
}
type Command = <Body>(name: string, args: object) => Promise<ApiAnswer<Body>>

async function commandsOf(server: TestServer): Promise<Command> {
  const token = await tokenFor(server, 'admin')
  return (name, args) => ask(`${server.urlOf()}/api/${name.replace(' ', '/')}`, { token, args })
}

/** What has come, and what was returned to who sent it; both in their order. */
type Fates = { readonly got: readonly string[]; readonly returned: readonly string[] }

/** Each once, in their order. */
const ALL: Fates = { got: LINES, returned: [] }

const idsOf = (client: Client, isError: boolean) =>
  client
    .inbox((element: Element) => {
      return element.name === 'message' && (element.attr('type') === 'error') === isError
    })
    .map((element) => element.attr('id') ?? '')

/** Resolves when so many lines are somewhere. */
async function arrived(to: Client, from: Client, count = MESSAGES): Promise<Fates> {
  const fates = (): Fates => ({ got: idsOf(to, false), returned: idsOf(from, true) })
  const isThrough = ({ got, returned }: Fates) => new Set([...got, ...returned]).size === count
  for (let attempt = 0; !isThrough(fates()); attempt++) {
    assert.ok(attempt < 6_000, `of ${count} lines only ${JSON.stringify(fates())}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return fates()
}

/** Both write to one another while an operator closes what they write over. */
async function exchange(capulet: TestServer, juliet: Client, romeo: Client) {
  const command = await commandsOf(capulet)
  await enable(juliet)
  let closed = 0
  for (const [number, id] of LINES.entries()) {
    juliet.send(line(romeo, id))
    romeo.send(line(juliet, id))
    if (number % EVERY === 0) {
      // There is a connection, over which the others begin to go at once.
      await arrived(romeo, juliet, number + 1)
      await arrived(juliet, romeo, number + 1)
    }
    if (number % EVERY !== EVERY - 1) continue
    await juliet.roundTrip()
    const { status, body } = await command<Closed>('s2s close', { remote: REMOTE })
    assert.equal(status, 200, JSON.stringify(body))
    closed += body.closed
  }
  await arrived(romeo, juliet)
  await arrived(juliet, romeo)
  for (const client of [juliet, romeo]) await client.roundTrip()
  assert.ok(closed >= MESSAGES / EVERY)
  await handles(juliet, MESSAGES + MESSAGES / EVERY + 1)
  return { ours: await arrived(romeo, juliet), theirs: await arrived(juliet, romeo) }
}

for (const bidi of [true, false]) {
  test(`between two servers nothing is lost, doubled or mixed up (bidi: ${bidi})`, async () => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example', { http: {}, s2s: { bidi } })
    const montague = await internet.server(REMOTE, { s2s: { bidi } })
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')
    assert.deepEqual(await exchange(capulet, juliet, romeo), { ours: ALL, theirs: ALL })
  })
}

const ways: Readonly<
  Record<string, { readonly ours?: ServerWishes; readonly theirs?: Partial<ProsodyWishes> }>
> = {
  'both directions on one connection': {},
  'a connection each': { ours: { s2s: { bidi: false } }, theirs: { bidi: false } },
  'without stream management': { theirs: { smacks: false } },
}

for (const [way, { ours: wishes, theirs: others }] of Object.entries(ways)) {
  test(`with Prosody, too: ${way}`, { skip: withoutProsody }, async () => {
    await using internet = await Internet.start()
    const capulet = await internet.server('capulet.example', { http: {}, ...wishes })
    await using montague = await startProsody(internet, REMOTE, ['romeo'], others)
    const juliet = await capulet.connect('juliet', 'balcony')
    const romeo = await montague.connect('romeo', 'orchard')
    try {
      const { ours, theirs } = await exchange(capulet, juliet, romeo)
      assert.deepEqual(ours, ALL)
      // What Prosody does not know to have arrived it returns.
      assert.deepEqual(new Set([...theirs.got, ...theirs.returned]), new Set(LINES))
    } catch (error) {
      throw new Error(`${error}\n${montague.log}`, { cause: error })
    }
  })
}

test('what waits for a server that takes nothing goes over the next connection', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example', { http: {} })
  const montague = await internet.server(REMOTE)
  const [listener] = montague.server.serverListeners
  assert(listener !== undefined)
  await using relay = await Relay.start(listener.address)
  internet.locateAt(REMOTE, relay.address.host, relay.address.port)
  const command = await commandsOf(capulet)
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')
  await juliet.sends(line(romeo, 'first'))
  await romeo.receives({ id: 'first' })
  await enable(juliet)

  relay.hang()
  // Fewer than one client may have under way.
  const few = LINES.slice(0, 100)
  juliet.send(...few.map((id) => line(romeo, id)))
  await juliet.roundTrip()
  const { body } = await command<Links>('s2s list', {})
  const [{ node, state, waiting, unacknowledged }] = body.connections
  assert.deepEqual([node, state], ['local', 'open'])
  assert.ok(waiting + unacknowledged >= few.length)
  assert.equal((await command<Closed>('s2s close', { remote: REMOTE })).body.closed, 1)
  juliet.send(line(romeo, 'last'))
  // Nobody says goodbye on a connection that hangs.
  relay.cut()
  for (const id of [...few, 'last']) {
    assert.equal((await romeo.receives({ name: 'message' })).attr('id'), id)
  }
  await romeo.receivesNothing({ name: 'message' })
  await handles(juliet, few.length + 2)
})
