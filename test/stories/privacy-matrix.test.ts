import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import { type Client, conditionOf } from '../support/client.ts'
import { blocks, rules, setsActive, setsDefault, setsList } from '../support/privacy.ts'
import { DOMAIN, startServer } from '../support/server.ts'

const ROMEO = `romeo@${DOMAIN}`
const JULIET = `juliet@${DOMAIN}`
const BALCONY = `${JULIET}/balcony`

/** What a stanza is to the rules. */
type Kind = 'message' | 'iq' | 'presence' | 'other'
type Name = 'message' | 'presence' | 'iq'

/** `to` is where Romeo sends it; the id says what it is. */
type Sent = {
  readonly name: Name
  readonly type?: string
  readonly to: string
  readonly kind: Kind
}

const stanzas: readonly Sent[] = [
  { name: 'message', type: 'chat', to: JULIET, kind: 'message' },
  { name: 'message', type: 'normal', to: JULIET, kind: 'message' },
  { name: 'message', type: 'headline', to: JULIET, kind: 'message' },
  { name: 'message', type: 'groupchat', to: JULIET, kind: 'message' },
  { name: 'message', type: 'error', to: JULIET, kind: 'message' },
  { name: 'message', type: 'chat', to: BALCONY, kind: 'message' },
  { name: 'message', to: BALCONY, kind: 'message' },
  { name: 'message', type: 'headline', to: BALCONY, kind: 'message' },
  { name: 'message', type: 'groupchat', to: BALCONY, kind: 'message' },
  { name: 'message', type: 'error', to: BALCONY, kind: 'message' },
  { name: 'iq', type: 'get', to: JULIET, kind: 'iq' },
  { name: 'iq', type: 'set', to: JULIET, kind: 'iq' },
  { name: 'iq', type: 'get', to: BALCONY, kind: 'iq' },
  { name: 'iq', type: 'set', to: BALCONY, kind: 'iq' },
  { name: 'iq', type: 'result', to: BALCONY, kind: 'iq' },
  { name: 'iq', type: 'error', to: BALCONY, kind: 'iq' },
  { name: 'presence', to: JULIET, kind: 'presence' },
  { name: 'presence', to: BALCONY, kind: 'presence' },
  { name: 'presence', type: 'unavailable', to: BALCONY, kind: 'presence' },
  { name: 'presence', type: 'subscribe', to: JULIET, kind: 'other' },
  { name: 'presence', type: 'probe', to: JULIET, kind: 'other' },
]

const idOf = ({ name, type = 'none', to }: Sent) => `${name}-${type}-${to}`

function elementOf(sent: Sent, to = sent.to): Element {
  const { name, type } = sent
  const payload =
    name === 'message'
      ? [el('body', {}, idOf(sent))]
      : name === 'iq' && type !== 'result'
        ? [el('vCard', { xmlns: 'vcard-temp' })]
        : []
  return el(name, { type, to, id: idOf(sent) }, ...payload)
}

/** What the sender hears; `passed` if it is as without any list. */
type Fate = 'su' | 'silence' | 'passed'

/** As XEP-0016 §2.14 and XEP-0191 §3.3 want it. */
function fateOfDenied({ name, type }: Sent, policy: Policy): Fate {
  switch (name) {
    case 'presence':
      return 'silence'
    case 'iq':
      return type === 'get' || type === 'set' ? 'su' : 'silence'
    case 'message':
      // Lists let errors pass; who is blocked cannot write in the guise of one either.
      if (type === 'error') return policy.letsErrorsPass ? 'passed' : 'silence'
      return type === 'groupchat' ? 'silence' : 'su'
  }
}

type Policy = {
  /** Juliet makes it so. */
  readonly set: (juliet: Client) => Promise<void>
  /** Kinds of what comes in that it denies. */
  readonly denied: readonly Kind[]
  /** Of what goes out. */
  readonly deniedOut: readonly Kind[]
  readonly letsErrorsPass: boolean
  /** It ends with the session. */
  readonly isActive: boolean
  readonly hasBlockedCondition: boolean
}

const ALL: readonly Kind[] = ['message', 'iq', 'presence', 'other']
const jid = { type: 'jid', value: ROMEO } as const
const subscription = { type: 'subscription', value: 'none' } as const

function list(rule: Parameters<typeof rules>[1], isActive: boolean, denied = ALL, deniedOut = ALL) {
  const set = async (juliet: Client) => {
    await setsList(juliet, rules('private', rule))
    await (isActive ? setsActive(juliet, 'private') : setsDefault(juliet, 'private'))
  }
  return { set, denied, deniedOut, isActive, letsErrorsPass: true, hasBlockedCondition: false }
}

function blocked(address: string): Policy {
  const set = (juliet: Client) => blocks(juliet, address)
  const common = { isActive: false, letsErrorsPass: false, hasBlockedCondition: true }
  return { set, denied: ALL, deniedOut: ALL, ...common }
}

const policies: Record<string, Policy> = {
  'blocked account': blocked(ROMEO),
  // Subscriptions are between accounts.
  'blocked resource': { ...blocked(`${ROMEO}/orchard`), denied: ['message', 'iq', 'presence'] },
  'blocked domain': blocked(DOMAIN),
  'default list, everything of an address': list(jid, false),
  'default list, everything of a domain': list({ type: 'jid', value: DOMAIN }, false),
  'default list, everything of strangers': list(subscription, false),
  'default list, everything of everybody': list({}, false),
  'default list, messages of an address': list(
    { ...jid, kinds: ['message'] },
    false,
    ['message'],
    [],
  ),
  'default list, iqs of strangers': list({ ...subscription, kinds: ['iq'] }, false, ['iq'], []),
  'default list, presence of everybody': list({ kinds: ['presence-in'] }, false, ['presence'], []),
  'default list, presence for an address': list(
    { ...jid, kinds: ['presence-out'] },
    false,
    [],
    ['presence'],
  ),
  'active list, messages of an address': list(
    { ...jid, kinds: ['message'] },
    true,
    ['message'],
    [],
  ),
  'active list, presence and iqs of everybody': list(
    { kinds: ['presence-in', 'iq'] },
    true,
    ['presence', 'iq'],
    [],
  ),
}

/** What Romeo hears of each stanza, by id. */
function heard(romeo: Client, { name, ...sent }: Sent): string {
  const id = idOf({ name, ...sent })
  const [answer] = romeo.inbox((element) => element.name === name && element.attr('id') === id)
  if (answer === undefined) return 'silence'
  return answer.attr('type') === 'error' ? (conditionOf(answer) ?? '?') : 'answer'
}

async function sendAll(romeo: Client): Promise<void> {
  for (const sent of stanzas) romeo.send(elementOf(sent))
  await romeo.roundTrip()
}

function checkDenied(romeo: Client, policy: Policy, denied: readonly Sent[], when: string): void {
  for (const sent of denied) {
    const fate = fateOfDenied(sent, policy)
    if (fate === 'passed') continue
    const expected = fate === 'su' ? 'service-unavailable' : 'silence'
    assert.equal(heard(romeo, sent), expected, `${idOf(sent)} ${when}`)
  }
}

for (const [name, policy] of Object.entries(policies)) {
  test(`what comes in: ${name}`, async () => {
    await using server = await startServer()
    const romeo = await server.connect('romeo', 'orchard')
    const juliet = await server.connect('juliet', 'balcony')
    await policy.set(juliet)
    const denied = stanzas.filter(({ kind, type, to }) => {
      // An active list is that of a resource; what the server answers for the account is not.
      if (policy.isActive && to === JULIET && (kind === 'iq' || type === 'groupchat')) return false
      return policy.denied.includes(kind)
    })
    const isStopped = (sent: Sent) =>
      denied.includes(sent) && fateOfDenied(sent, policy) !== 'passed'

    await sendAll(romeo)
    await juliet.roundTrip()
    checkDenied(romeo, policy, denied, 'while she is there')
    for (const sent of stanzas) {
      const id = idOf(sent)
      const copies = juliet.inbox((element) => element.attr('id') === id).length
      const wasToArrive = sent.to === BALCONY || ['chat', 'subscribe'].includes(sent.type ?? '')
      if (isStopped(sent)) assert.equal(copies, 0, `${id} has arrived`)
      else if (wasToArrive) assert.equal(copies, 1, `${id} has not arrived`)
    }
    const stopped = stanzas.filter(isStopped).map(idOf)
    const archived = (await askArchive(juliet)).bodies
    assert.deepEqual(
      archived.filter((body) => stopped.includes(body)),
      [],
    )

    await juliet.leaves()
    romeo.forgets()
    if (policy.isActive) return
    await sendAll(romeo)
    checkDenied(romeo, policy, denied, 'while she is away')
    const back = await server.connect('juliet', 'balcony')
    for (const id of stopped) await back.receivesNothing({ id })
    const all = (await askArchive(back)).bodies
    assert.deepEqual(
      all.filter((body) => stopped.includes(body)),
      [],
    )
  })

  test(`what goes out: ${name}`, async () => {
    await using server = await startServer()
    const romeo = await server.connect('romeo', 'orchard')
    const juliet = await server.connect('juliet', 'balcony')
    await policy.set(juliet)
    const outgoing = stanzas.filter(({ to }) => to === BALCONY)
    for (const sent of outgoing) juliet.send(elementOf(sent, romeo.fullJid))
    await juliet.roundTrip()
    await romeo.roundTrip()
    for (const sent of outgoing) {
      const id = idOf(sent)
      const kind = sent.name === 'presence' ? sent.kind : 'other'
      const isDenied = policy.deniedOut.includes(kind)
      const copies = romeo.inbox((element) => element.attr('id') === id).length
      assert.equal(copies, isDenied ? 0 : 1, `${id} arrives`)
      if (!isDenied) continue
      const [error] = juliet.inbox({ name: sent.name, id, type: 'error' })
      if (sent.type === 'error' || sent.type === 'result') {
        assert.equal(error, undefined, id)
        continue
      }
      assert.equal(error && conditionOf(error), 'not-acceptable', id)
      assert.equal(error?.child('error')?.attr('type'), 'cancel', id)
      const detail = error?.child('error')?.child('blocked', 'urn:xmpp:blocking:errors')
      assert.equal(detail !== undefined, policy.hasBlockedCondition, id)
    }
  })
}
