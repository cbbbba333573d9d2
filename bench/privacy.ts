/**
 * What privacy lists and blocks cost a stanza: `node bench/privacy.ts [--rounds N]`.
 *
 * Each line asks for the hook that decides what comes in; least and median of the rounds, with
 * processor time of the whole process (collecting garbage included).
 */
import { parseArgs } from 'node:util'
import { Envelope, SERVER } from '../src/core/envelope.ts'
import { type Acc, type HookPoint, Hooks } from '../src/core/hooks.ts'
import { silentLogger } from '../src/core/log.ts'
import { blocking } from '../src/modules/blocking/index.ts'
import { privacy } from '../src/modules/privacy/index.ts'
import { parseJid } from '../src/xmpp/jid.ts'
import { Stanza } from '../src/xmpp/stanza.ts'
import { type Element, el } from '../src/xmpp/xml.ts'
import { type Core, DOMAIN, startCore } from '../test/support/core.ts'

const COUNT = 500_000
const ITEMS = 1_000

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } })
const rounds = Number(values.rounds)

const address = (index: number) => `contact-${index}@elsewhere.example`

async function set(core: Core, account: string, payload: Element): Promise<void> {
  const session = await core.connect(account)
  const answer = await core.ask(session, session.jid.bare, 'set', payload)
  if (answer.isError) throw new Error(`refused: ${answer.payload}`)
}

async function prepare(): Promise<Core> {
  const core = await startCore({
    accounts: ['nobody', 'blocker', 'lister'],
    modules: [
      [blocking, {}],
      [privacy, {}],
    ],
  })
  // Lists are at hand from the first session on.
  await core.connect('nobody')
  const all = Array.from({ length: ITEMS }, (_, index) => index)
  const blocked = all.map((index) => el('item', { jid: address(index) }))
  await set(core, 'blocker', el('block', { xmlns: 'urn:xmpp:blocking' }, ...blocked))
  const rules = all.map((order) =>
    el('item', { type: 'jid', value: address(order), action: 'deny', order }, el('message')),
  )
  const query = (child: Element) => el('query', { xmlns: 'jabber:iq:privacy' }, child)
  await set(core, 'lister', query(el('list', { name: 'long' }, ...rules)))
  await set(core, 'lister', query(el('default', { name: 'long' })))
  return core
}

const chat = Stanza.build('message', { type: 'chat' }, el('body', {}, 'Art thou not Romeo?'))

/** Stanzas for an account from many who are not on its lists. */
function stanzasFor(account: string): Envelope[] {
  const to = parseJid(`${account}@${DOMAIN}`)
  return Array.from({ length: 1000 }, (_, index) => {
    const from = parseJid(`stranger-${index}@elsewhere.example/phone`)
    return new Envelope(from, to, chat, SERVER)
  })
}

type Filter = HookPoint<'filter_local_packet'>
const NO_PARAMS = {}

/** Nanoseconds of processor time for each stanza. */
function measure(point: Filter, envelopes: readonly Envelope[]): number {
  const start = process.cpuUsage()
  for (let i = 0; i < COUNT; i++) {
    const envelope: Acc<'filter_local_packet'> = envelopes[i % envelopes.length] as Envelope
    if (point.run(envelope, NO_PARAMS) !== envelope) throw new Error('it did not pass')
  }
  const { user, system } = process.cpuUsage(start)
  return ((user + system) * 1000) / COUNT
}

await using core = await prepare()
const point = core.hooks.at('filter_local_packet', 'default')
const nothing = new Hooks(silentLogger).at('filter_local_packet', 'default')
const cases: Readonly<Record<string, readonly [Filter, readonly Envelope[]]>> = {
  'no such modules': [nothing, stanzasFor('nobody')],
  'no list': [point, stanzasFor('nobody')],
  [`${ITEMS} blocked`]: [point, stanzasFor('blocker')],
  [`list of ${ITEMS}`]: [point, stanzasFor('lister')],
}
const results = new Map<string, number[]>(Object.keys(cases).map((name) => [name, []]))
for (const one of Object.values(cases)) measure(...one)
for (let round = 0; round < rounds; round++) {
  for (const [name, one] of Object.entries(cases)) results.get(name)?.push(measure(...one))
}
for (const [name, times] of results) {
  times.sort((a, b) => a - b)
  const format = (ns: number | undefined) => `${(ns ?? 0).toFixed(0).padStart(5)} ns`
  console.log(
    `${name.padEnd(16)} min ${format(times[0])}  median ${format(times[times.length >> 1])}`,
  )
}
