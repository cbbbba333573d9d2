import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import {
  CARBONS,
  connectCopied,
  type Direction,
  enableCarbons,
  quoted,
  shown,
} from '../support/carbons.ts'
import type { Client } from '../support/client.ts'
import { blocks } from '../support/privacy.ts'
import { DOMAIN, startServer, type TestServer } from '../support/server.ts'
import { chat, message } from '../support/stanzas.ts'
import { acknowledge, connectResumable, resume } from '../support/stream-management.ts'

const HINTS = 'urn:xmpp:hints'
const MUC_USER = 'http://jabber.org/protocol/muc#user'
const ITEM_NOT_FOUND = el(
  'error',
  { type: 'cancel' },
  el('item-not-found', { xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas' }),
)

// --- Which messages are copied (XEP-0280 §6.1).

/** What a message may have in it, and what that does to it whatever its type. */
const CONTENTS: Readonly<
  Record<string, { readonly payload: readonly Element[]; readonly makes?: 'im' | 'apart' }>
> = {
  nothing: { payload: [] },
  'a subject': { payload: [el('subject', {}, 'Verona')] },
  'something unknown': { payload: [el('x', { xmlns: 'urn:example' })] },
  'a request for a receipt': {
    payload: [el('request', { xmlns: 'urn:xmpp:receipts' })],
    makes: 'im',
  },
  'a receipt': {
    payload: [el('received', { xmlns: 'urn:xmpp:receipts', id: 'x' })],
    makes: 'im',
  },
  'a chat state': {
    payload: [el('composing', { xmlns: 'http://jabber.org/protocol/chatstates' })],
    makes: 'im',
  },
  'a marker': {
    payload: [el('displayed', { xmlns: 'urn:xmpp:chat-markers:0', id: 'x' })],
    makes: 'im',
  },
  'a direct invitation': {
    payload: [el('x', { xmlns: 'jabber:x:conference', jid: 'tomb@muc.example' })],
    makes: 'im',
  },
  'a mediated invitation': {
    payload: [el('x', { xmlns: MUC_USER }, el('invite', { from: 'friar@example.org' }))],
    makes: 'im',
  },
  'a hint to store it': { payload: [el('store', { xmlns: HINTS })] },
  'a hint not to store it': { payload: [el('no-store', { xmlns: HINTS })] },
  'a hint not to copy it': { payload: [el('no-copy', { xmlns: HINTS })], makes: 'apart' },
  'a wish for privacy': { payload: [el('private', { xmlns: CARBONS })], makes: 'apart' },
  'a wish for privacy, and a receipt': {
    payload: [
      el('private', { xmlns: CARBONS }),
      el('no-copy', { xmlns: HINTS }),
      el('request', { xmlns: 'urn:xmpp:receipts' }),
    ],
    makes: 'apart',
  },
  'a copy in it': {
    payload: [
      el(
        'received',
        { xmlns: CARBONS },
        el(
          'forwarded',
          { xmlns: 'urn:xmpp:forward:0' },
          el('message', { xmlns: 'jabber:client', from: 'nurse@example.org' }),
        ),
      ),
    ],
    makes: 'apart',
  },
}
const TYPES = ['chat', 'normal', undefined, 'headline', 'groupchat', 'error']

function isCopied(
  type: string | undefined,
  hasBody: boolean,
  makes: 'im' | 'apart' | undefined,
): boolean {
  if (type === 'groupchat' || type === 'error' || makes === 'apart') return false
  return type === 'chat' || makes === 'im' || (hasBody && type !== 'headline')
}

for (const type of TYPES) {
  test(`which messages are copied: ${type ?? 'no type'}`, async () => {
    await using server = await startServer({ modules: { archive: false } })
    const garden = await server.connect('romeo', 'garden')
    const desk = await connectCopied(server, 'romeo', 'desk')
    const old = await server.connect('romeo', 'old')
    const balcony = await connectCopied(server, 'juliet', 'balcony', { priority: 5 })
    const chamber = await connectCopied(server, 'juliet', 'chamber')
    const hall = await server.connect('juliet', 'hall')
    const all = [garden, desk, old, balcony, chamber, hall]
    for (const client of all) client.forgets()

    for (const hasBody of [true, false]) {
      for (const [name, { payload, makes }] of Object.entries(CONTENTS)) {
        const body = hasBody ? 'Hist! Romeo, hist!' : undefined
        const stanza = message(type, balcony.fullJid, body, ...payload)
        const id = stanza.attr('id') ?? ''
        const label = type === 'error' ? `error ${id}` : id
        garden.send(stanza)
        for (const client of all) await client.roundTrip()

        const copies = (direction: Direction) =>
          isCopied(type, hasBody, makes) ? [`${direction} ${id}`] : []
        const what = `${hasBody ? 'a body and ' : ''}${name}`
        const delivered = name === 'a copy in it' ? 'received ' : label
        assert.deepEqual(shown(balcony), [delivered], `delivered: ${what}`)
        assert.deepEqual(shown(desk), copies('sent'), `its sender's: ${what}`)
        assert.deepEqual(shown(chamber), copies('received'), `its recipient's: ${what}`)
        for (const client of [garden, old, hall]) assert.deepEqual(shown(client), [], what)
        for (const client of all) client.forgets()
      }
    }
  })
}

test('private messages of rooms: who sends them has copies, who gets them has them already', async () => {
  await using server = await startServer({ component: {} })
  const room = await server.connectComponent('muc.example.com')
  const garden = await server.connect('romeo', 'garden')
  const desk = await connectCopied(server, 'romeo', 'desk')
  const x = el('x', { xmlns: MUC_USER })

  garden.send(chat('verona@muc.example.com/nurse', 'I am here', x))
  const copy = await desk.receivesNext({ name: 'message', child: CARBONS })
  assert.equal(quoted(copy, 'sent')?.child('body')?.text, 'I am here')
  await room.receives({ name: 'message' })

  room.send(
    el(
      'message',
      { from: 'verona@muc.example.com/nurse', to: garden.fullJid, type: 'chat', id: 'p' },
      el('body', {}, 'Is your man secret?'),
      x,
    ),
  )
  await garden.receives({ body: 'Is your man secret?' })
  await desk.receivesNothing({ name: 'message' })

  room.send(
    el(
      'message',
      { from: 'verona@muc.example.com', to: garden.fullJid, id: 'i' },
      el('x', { xmlns: MUC_USER }, el('invite', { from: 'nurse@example.org' })),
    ),
  )
  await garden.receives({ id: 'i' })
  const invitation = await desk.receives({ name: 'message' })
  assert.equal(quoted(invitation, 'received')?.attr('from'), 'verona@muc.example.com')
})

// --- Which resources get one.

type Resource = {
  /** Undefined: connected, but not available. */
  readonly priority: number | undefined
  readonly isEnabled: boolean
}

const PRIORITIES = [undefined, -1, 0, 5]
const ALL_RESOURCES: readonly Resource[] = PRIORITIES.flatMap((priority) => [
  { priority, isEnabled: true },
  { priority, isEnabled: false },
])

const RESOURCE_SETS: Readonly<Record<string, readonly Resource[]>> = {
  all: ALL_RESOURCES,
  'not the most available': ALL_RESOURCES.filter(({ priority }) => priority !== 5),
  'only negative or none': ALL_RESOURCES.filter(({ priority = -1 }) => priority < 0),
  'only not available': ALL_RESOURCES.filter(({ priority }) => priority === undefined),
  'two most available': [5, 5, 0].map((priority) => ({ priority, isEnabled: true })),
}

function nameOf({ priority, isEnabled }: Resource, index: number): string {
  return `${index} ${priority ?? 'away'} ${isEnabled ? 'copied' : 'plain'}`
}

async function connectAll(
  server: TestServer,
  localpart: string,
  resources: readonly Resource[],
): Promise<Client[]> {
  const clients: Client[] = []
  for (const [index, resource] of resources.entries()) {
    const { priority, isEnabled } = resource
    const client = await server.connect(localpart, nameOf(resource, index), { priority })
    if (isEnabled) await enableCarbons(client)
    clients.push(client)
  }
  for (const client of clients) await client.roundTrip()
  for (const client of clients) client.forgets()
  return clients
}

for (const [name, resources] of Object.entries(RESOURCE_SETS)) {
  test(`each resource that wants a copy gets one, or the message: ${name}`, async () => {
    await using server = await startServer()
    const nurse = await server.connect('nurse')
    const juliet = await connectAll(server, 'juliet', resources)
    const highest = Math.max(...resources.map(({ priority = -1 }) => priority))
    const targets: Record<string, (index: number) => boolean> = {
      [`juliet@${DOMAIN}`]: (index) => highest >= 0 && resources[index]?.priority === highest,
      [`juliet@${DOMAIN}/gone`]: (index) => highest >= 0 && resources[index]?.priority === highest,
    }
    for (const [index, client] of juliet.entries()) {
      targets[client.fullJid] = (other) => other === index
    }

    for (const [to, isTarget] of Object.entries(targets)) {
      const stanza = chat(to, 'Madam!')
      const id = stanza.attr('id') ?? ''
      nurse.send(stanza)
      await nurse.roundTrip()
      const isStored = !juliet.some((_, index) => isTarget(index))
      for (const [index, client] of juliet.entries()) {
        await client.roundTrip()
        const { priority, isEnabled } = resources[index] as Resource
        // Who is not available gets what is stored once it is.
        const isCopied = isEnabled && !(isStored && priority === undefined)
        const wanted = isTarget(index) ? [id] : isCopied ? [`received ${id}`] : []
        assert.deepEqual(shown(client), wanted, `${to}: ${client}`)
        client.forgets()
      }
    }
  })

  test(`each other resource of the sender that wants a copy gets one: ${name}`, async () => {
    await using server = await startServer()
    const nurse = await server.connect('nurse')
    const juliet = await connectAll(server, 'juliet', resources)
    await server.createAccount('peter')
    for (const to of [nurse.bareJid, nurse.fullJid, `peter@${DOMAIN}`, `nobody@${DOMAIN}`]) {
      for (const [sending, sender] of juliet.entries()) {
        const stanza = chat(to, 'What news?')
        const id = stanza.attr('id') ?? ''
        sender.send(stanza)
        for (const client of juliet) await client.roundTrip()
        for (const [index, client] of juliet.entries()) {
          const isCopied = index !== sending && resources[index]?.isEnabled === true
          const copies = isCopied ? [`sent ${id}`] : []
          const errors =
            index === sending ? [`error ${id}`] : isCopied ? [`received error ${id}`] : []
          const wanted = to.startsWith('nobody') ? [...copies, ...errors] : copies
          assert.deepEqual(shown(client), wanted, `${sender} to ${to}: ${client}`)
          client.forgets()
        }
      }
    }
  })

  test(`to oneself: once for each resource, and nothing back: ${name}`, async () => {
    await using server = await startServer()
    const juliet = await connectAll(server, 'juliet', resources)
    const highest = Math.max(...resources.map(({ priority = -1 }) => priority))
    const isMostAvailable = (index: number) =>
      highest >= 0 && resources[index]?.priority === highest
    for (const [sending, sender] of juliet.entries()) {
      for (const to of [undefined, sender.bareJid, ...juliet.map(({ fullJid }) => fullJid)]) {
        const isTarget = (index: number) =>
          to === undefined || to === sender.bareJid
            ? isMostAvailable(index)
            : juliet[index]?.fullJid === to
        const stanza = chat(to, 'Ay me!')
        const id = stanza.attr('id') ?? ''
        sender.send(stanza)
        for (const client of juliet) await client.roundTrip()
        const isStored = !juliet.some((_, index) => isTarget(index))
        for (const [index, client] of juliet.entries()) {
          const { priority, isEnabled } = resources[index] as Resource
          const isCopied = isEnabled && index !== sending && !(isStored && priority === undefined)
          const wanted = isTarget(index) ? [id] : isCopied ? [`received ${id}`] : []
          assert.deepEqual(shown(client), wanted, `${sender} to ${to}: ${client}`)
          client.forgets()
        }
      }
    }
  })
}

// --- What copies look like.

test('a copy has the type of its message, and quotes it from the account to the resource', async () => {
  await using server = await startServer()
  const garden = await server.connect('romeo', 'garden')
  const desk = await connectCopied(server, 'romeo', 'desk')
  const balcony = await server.connect('juliet', 'balcony', { priority: 1 })
  const chamber = await connectCopied(server, 'juliet', 'chamber')

  for (const type of ['chat', 'normal', undefined]) {
    const stanza = message(type, balcony.bareJid, "It is my lady; O, it is my love! <'&>")
    garden.send(stanza)
    await balcony.receives({ type, id: stanza.attr('id') as string })
    for (const [client, direction] of [
      [desk, 'sent'],
      [chamber, 'received'],
    ] as const) {
      const copy = await client.receivesNext({ name: 'message', from: client.bareJid })
      assert.equal(copy.attr('to'), client.fullJid)
      assert.equal(copy.attr('type'), type)
      assert.equal(copy.elements().length, 1)
      const original = quoted(copy, direction)
      assert.equal(original?.attr('from'), garden.fullJid)
      assert.equal(original?.attr('to'), balcony.bareJid)
      assert.equal(original?.attr('type'), type)
      assert.equal(original?.attr('id'), stanza.attr('id'))
      assert.equal(original?.child('body')?.text, stanza.child('body')?.text)
    }
  }
})

test('a copy has the id that the message has in its own account’s archive, and no other', async () => {
  await using server = await startServer()
  const garden = await server.connect('romeo', 'garden')
  const desk = await connectCopied(server, 'romeo', 'desk')
  const balcony = await server.connect('juliet', 'balcony', { priority: 1 })
  const chamber = await connectCopied(server, 'juliet', 'chamber')
  const forged = el('stanza-id', { xmlns: 'urn:xmpp:sid:0', by: desk.bareJid, id: 'mine' })
  const stranger = el('stanza-id', { xmlns: 'urn:xmpp:sid:0', by: balcony.bareJid, id: 'theirs' })

  garden.send(chat(balcony.bareJid, 'one', forged, stranger))
  garden.send(chat(balcony.bareJid, 'two'))

  for (const body of ['one', 'two']) {
    for (const [client, direction] of [
      [desk, 'sent'],
      [chamber, 'received'],
    ] as const) {
      const original = quoted(await client.receivesNext({ name: 'message' }), direction)
      assert.equal(original?.child('body')?.text, body)
      const own = original
        ?.elements()
        .filter((child) => child.name === 'stanza-id' && child.attr('by') === client.bareJid)
      const { results } = await askArchive(client)
      const archived = results.find((result) => result.body === body)
      assert.deepEqual(
        own?.map((child) => child.attr('id')),
        [archived?.id],
        `${client}: ${body}`,
      )
    }
  }
})

// --- Errors.

test('an error is copied if what it answers was, after that, and only then', async () => {
  await using server = await startServer()
  const garden = await server.connect('romeo', 'garden')
  const desk = await connectCopied(server, 'romeo', 'desk')
  const juliet = await server.connect('juliet')

  const copied = chat(juliet.fullJid, 'Hist!')
  const kept = chat(juliet.fullJid, 'Hist!', el('private', { xmlns: CARBONS }))
  const bare = message('normal', juliet.fullJid)
  for (const stanza of [copied, kept, bare]) garden.send(stanza)
  await garden.roundTrip()
  for (const stanza of [copied, kept, bare]) {
    const id = stanza.attr('id')
    juliet.send(el('message', { type: 'error', to: garden.fullJid, id }, ITEM_NOT_FOUND))
    await garden.receives({ error: 'item-not-found', id: id as string })
  }
  // Nobody sent that.
  juliet.send(el('message', { type: 'error', to: garden.fullJid, id: 'x' }, ITEM_NOT_FOUND))
  await garden.receives({ error: 'item-not-found', id: 'x' })
  await desk.roundTrip()
  const id = copied.attr('id')
  assert.deepEqual(shown(desk), [`sent ${id}`, `received error ${id}`])
})

test('an error that comes at once is copied behind its message, ids or not', async () => {
  await using server = await startServer()
  const garden = await server.connect('romeo', 'garden')
  const desk = await connectCopied(server, 'romeo', 'desk')
  for (const stanza of [
    chat(`nobody@${DOMAIN}`, 'one'),
    el('message', { type: 'chat', to: `nobody@${DOMAIN}` }, el('body', {}, 'two')),
    message('normal', `juliet@${DOMAIN}/gone`, 'three'),
  ]) {
    const id = stanza.attr('id') ?? ''
    garden.send(stanza)
    await garden.receives({ type: 'error', id: stanza.attr('id') })
    await desk.roundTrip()
    assert.deepEqual(shown(desk), [`sent ${id}`, `received error ${id}`])
    desk.forgets()
  }
})

test('who is blocked, or blocks, sends no copies of what is refused to others', async () => {
  await using server = await startServer()
  const garden = await connectCopied(server, 'romeo', 'garden')
  const desk = await connectCopied(server, 'romeo', 'desk')
  const balcony = await connectCopied(server, 'juliet', 'balcony', { priority: 1 })
  const chamber = await connectCopied(server, 'juliet', 'chamber')
  await blocks(balcony, garden.bareJid)

  // By the recipient: it was sent, and refused.
  const refused = chat(balcony.bareJid, 'It is the east')
  const id = refused.attr('id') ?? ''
  garden.send(refused)
  await garden.receives({ error: 'service-unavailable', id })
  await desk.roundTrip()
  assert.deepEqual(shown(desk), [`sent ${id}`, `received error ${id}`])
  await balcony.receivesNothing({ name: 'message' })
  await chamber.receivesNothing({ name: 'message' })

  // By the sender: it never left.
  balcony.send(chat(garden.bareJid, 'Ay me'))
  await balcony.receives({ error: 'not-acceptable' })
  await chamber.receivesNothing({ name: 'message' })
})

// --- Copies are copies only.

test('a copy that comes back, or that is made up, is nobody’s business', async () => {
  await using server = await startServer()
  const tybalt = await server.connect('tybalt')
  const garden = await server.connect('romeo', 'garden', { priority: 1 })
  const desk = await connectCopied(server, 'romeo', 'desk')

  tybalt.send(chat(garden.fullJid, 'Thou art a villain'))
  const copy = await desk.receives({ name: 'message' })
  desk.send(
    el(
      'message',
      { type: 'error', to: copy.attr('from'), id: copy.attr('id') },
      ...copy.elements(),
      ITEM_NOT_FOUND,
    ),
  )
  await desk.roundTrip()
  await garden.receives({ body: 'Thou art a villain' })
  await garden.receivesNothing()
  await tybalt.receivesNothing()

  const forged = chat(desk.fullJid, 'Romeo, the love I bear thee', ...copy.elements())
  tybalt.send(forged)
  const received = await desk.receives({ name: 'message' })
  assert.equal(received.attr('from'), tybalt.fullJid)
  await garden.receivesNothing()
  // It is a message as any other: its sender learns if it does not arrive.
  await desk.leaves()
})

test('asking twice is fine; nobody asks for others', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'garden')
  const desk = await server.connect('romeo', 'desk')
  const nurse = await server.connect('nurse')
  const change = (client: Client, name: string, to?: string) =>
    client.ask('set', to, el(name, { xmlns: CARBONS }))
  const hears = async () => {
    desk.send(chat(nurse.bareJid, 'Nurse!'))
    await desk.roundTrip()
    await romeo.roundTrip()
    const [first] = shown(romeo)
    romeo.forgets()
    return first !== undefined
  }
  for (const [name, isHeard] of [
    ['disable', false],
    ['enable', true],
    ['enable', true],
    ['disable', false],
    ['disable', false],
    ['enable', true],
  ] as const) {
    assert.equal((await change(romeo, name)).attr('type'), 'result')
    assert.equal(await hears(), isHeard)
  }
  for (const name of ['enable', 'disable']) {
    const answer = await change(romeo, name, nurse.bareJid)
    assert.equal(answer.child('error')?.elements()[0]?.name, 'not-allowed')
  }
  const unknown = await change(romeo, 'toggle')
  assert.equal(unknown.attr('type'), 'error')
})

// --- With sessions that outlive their connections.

test('copies wait for a session that lost its connection, and only for that', async () => {
  await using server = await startServer()
  const nurse = await server.connect('nurse')
  const balcony = await server.connect('juliet', 'balcony', { priority: 1 })
  const { client: phone, id } = await connectResumable(server, 'juliet', 'phone', { priority: 0 })
  await enableCarbons(phone)
  await phone.vanishes()
  nurse.send(chat(balcony.bareJid, 'one'))
  await balcony.receives({ body: 'one' })
  const { client: back } = await resume(server, { id, h: 1, fullJid: phone.fullJid })
  const copy = await back.receives({ name: 'message' })
  assert.equal(quoted(copy, 'received')?.child('body')?.text, 'one')

  const session = server.sessionOf(back)
  await back.vanishes()
  nurse.send(chat(balcony.bareJid, 'two'))
  await balcony.receives({ body: 'two' })
  await session.close()
  await balcony.receivesNothing({ name: 'message' })
  const next = await connectCopied(server, 'juliet', 'phone')
  await next.receivesNothing({ name: 'message' })
})

test('who has had a copy is not shown the message when it comes back', async () => {
  await using server = await startServer()
  const nurse = await server.connect('nurse')
  const { client: phone } = await connectResumable(server, 'juliet', 'phone', { priority: 1 })
  const balcony = await connectCopied(server, 'juliet', 'balcony')
  const { client: desk } = await connectResumable(server, 'juliet', 'desk', { priority: -1 })
  await enableCarbons(desk)
  nurse.send(chat(phone.bareJid, 'one'))
  await phone.receives({ body: 'one' })
  const session = server.sessionOf(phone)
  await phone.vanishes()
  await session.close()

  await balcony.roundTrip()
  await desk.roundTrip()
  assert.equal(shown(balcony).length, 1)
  assert.equal(shown(desk).length, 1)
  assert.match(shown(balcony)[0] as string, /^received /)
  // It has arrived: nobody else gets it.
  await balcony.leaves()
  await desk.becomesAvailable(0)
  await desk.receivesNothing({ body: 'one' })
})

test('who has not acknowledged its copy gets the message', async () => {
  await using server = await startServer()
  const nurse = await server.connect('nurse')
  const { client: phone } = await connectResumable(server, 'juliet', 'phone', { priority: 1 })
  const { client: desk } = await connectResumable(server, 'juliet', 'desk', { priority: 0 })
  await enableCarbons(desk)
  nurse.send(chat(phone.bareJid, 'one'))
  await phone.receives({ body: 'one' })
  await desk.receives({ child: CARBONS })
  const session = server.sessionOf(phone)
  await phone.vanishes()
  await session.close()
  await desk.receives({ body: 'one' })
})

test('a message that is not to be copied is not lost with its recipient’s session', async () => {
  await using server = await startServer()
  const nurse = await server.connect('nurse')
  const { client: phone } = await connectResumable(server, 'juliet', 'phone', { priority: 1 })
  const isPrivate = el('private', { xmlns: CARBONS })
  nurse.send(chat(phone.fullJid, 'one', isPrivate))
  await phone.receives({ body: 'one' })
  const session = server.sessionOf(phone)
  await phone.vanishes()
  await session.close()
  const next = await server.connect('juliet', 'chamber')
  await next.receives({ body: 'one' })

  const tybalt = chat(`nobody@${DOMAIN}`, 'two', isPrivate)
  nurse.send(tybalt)
  await nurse.receives({ error: 'service-unavailable', id: tybalt.attr('id') as string })
})

test('inactive clients get copies at once, but not of somebody typing', async () => {
  await using server = await startServer()
  const nurse = await server.connect('nurse')
  const balcony = await server.connect('juliet', 'balcony', { priority: 1 })
  const phone = await connectCopied(server, 'juliet', 'phone')
  phone.send(el('inactive', { xmlns: 'urn:xmpp:csi:0' }))
  await phone.roundTrip()
  const composing = el('composing', { xmlns: 'http://jabber.org/protocol/chatstates' })
  nurse.send(message('chat', balcony.bareJid, undefined, composing))
  nurse.send(chat(balcony.bareJid, 'Madam!'))
  await balcony.receives({ body: 'Madam!' })
  await phone.roundTrip()
  const bodies = phone
    .inbox({ name: 'message' })
    .map((copy) => quoted(copy, 'received')?.child('body')?.text)
  assert.deepEqual(bodies, ['Madam!'])
})

for (const [when, fail] of [
  [
    'at once',
    () => {
      throw new Error('nobody can help it')
    },
  ],
  ['later', () => Promise.reject(new Error('nobody can help it'))],
] as const) {
  test(`a handler of sent_message_copied that fails ${when} takes no copy away`, async () => {
    await using server = await startServer()
    const desk = await server.connect('romeo', 'desk')
    const phone = await server.connect('romeo', 'phone')
    const juliet = await server.connect('juliet')
    await phone.ask('set', undefined, el('enable', { xmlns: 'urn:xmpp:carbons:2' }))
    server.server.hooks.on('sent_message_copied', fail, { order: 1, by: 'test' })

    desk.send(chat(juliet.fullJid, 'Speak again'))

    const copy = await phone.receivesNext({ name: 'message', child: 'urn:xmpp:carbons:2' })
    assert.match(copy.toString(), /Speak again/)
  })
}

test('copies of one account keep their order', async () => {
  await using server = await startServer()
  const garden = await server.connect('romeo', 'garden')
  const desk = await connectCopied(server, 'romeo', 'desk')
  const juliet = await server.connect('juliet')
  const { hooks } = server.server
  let isFirst = true
  const { promise, resolve } = Promise.withResolvers<void>()
  hooks.on('sent_message_copied', (envelope) => {
    if (!isFirst) return envelope
    isFirst = false
    return promise.then(() => envelope)
  })
  for (let i = 0; i < 3; i++) garden.send(chat(juliet.bareJid, `${i}`))
  await juliet.receives({ body: '2' })
  resolve()
  for (let i = 0; i < 3; i++) {
    const copy = await desk.receivesNext({ name: 'message' })
    assert.equal(quoted(copy, 'sent')?.child('body')?.text, `${i}`)
  }
})

test('a client acknowledges copies as it does all else', async () => {
  await using server = await startServer()
  const nurse = await server.connect('nurse')
  const balcony = await server.connect('juliet', 'balcony', { priority: 1 })
  const { client: phone, id } = await connectResumable(server, 'juliet', 'phone', { priority: 0 })
  await enableCarbons(phone)
  nurse.send(chat(balcony.bareJid, 'one'))
  await phone.receives({ child: CARBONS })
  acknowledge(phone, 2)
  await phone.roundTrip()
  await phone.vanishes()
  const { client: back } = await resume(server, { id, h: 3, fullJid: phone.fullJid })
  await back.receivesNothing({ name: 'message' })
})
