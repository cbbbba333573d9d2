/** What switching a module off and on again by a reload does to clients that are connected. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { modules } from '../../src/modules.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { askArchive, MAM } from '../support/archive.ts'
import { CARBONS, enableCarbons } from '../support/carbons.ts'
import type { Client } from '../support/client.ts'
import { emptyDirectory } from '../support/directory.ts'
import { BLOCKING, PRIVACY } from '../support/privacy.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { chat, presence } from '../support/stanzas.ts'
import {
  acknowledge,
  authenticated,
  connectResumable,
  enable,
  handled,
  handles,
  refusal,
  resume,
  SM_NS,
} from '../support/stream-management.ts'

const CSI_NS = 'urn:xmpp:csi:0'
const ROSTER_NS = 'jabber:iq:roster'
const VCARD_NS = 'vcard-temp'
const PRIVATE_NS = 'jabber:iq:private'

type Scene = {
  readonly server: TestServer
  readonly romeo: Client
  /** Juliet's two resources; nothing was asked of the server for them. */
  readonly juliet: Client
  readonly tablet: Client
}

/** A thing that a module does for clients who are connected. */
type Service = {
  /** What a client asks for once. */
  readonly prepare?: (scene: Scene) => Promise<void>
  /** It is there: at first, and again later without being asked for. */
  readonly works: (scene: Scene) => Promise<void>
  readonly isGone: (scene: Scene) => Promise<void>
}

let last = 0
const unique = (text: string) => `${text} ${++last}`

const set = async (client: Client, payload: Element, to?: string): Promise<void> => {
  const answer = await client.ask('set', to, payload)
  assert.equal(answer.attr('type'), 'result', String(answer))
}

const isRefused = async (client: Client, kind: 'get' | 'set', payload: Element): Promise<void> => {
  const answer = await client.ask(kind, undefined, payload)
  assert.equal(answer.attr('type'), 'error', String(answer))
}

/** Romeo writes to a resource: it gets that, and nothing before. */
async function arrives({ romeo }: Scene, to: Client, body = unique('hello')): Promise<void> {
  await romeo.sends(chat(to.fullJid, body))
  await to.receives({ body })
}

async function isDenied({ romeo }: Scene, to: Client): Promise<void> {
  const body = unique('unheard')
  await romeo.sends(chat(to.fullJid, body))
  await romeo.receives({ name: 'message', type: 'error' })
  await to.receivesNothing({ body })
}

const isCopyOf = (body: string) => (element: Element) =>
  element.child('received', CARBONS) !== undefined && String(element).includes(body)

const item = (jid: string) => el('item', { jid })

const SERVICES: Readonly<Record<string, Service>> = {
  carbons: {
    prepare: ({ tablet }) => enableCarbons(tablet),
    async works(scene) {
      const body = unique('copied')
      await arrives(scene, scene.juliet, body)
      await scene.tablet.receives(isCopyOf(body))
    },
    async isGone(scene) {
      const body = unique('not copied')
      await arrives(scene, scene.juliet, body)
      await scene.romeo.roundTrip()
      await scene.tablet.receivesNothing(isCopyOf(body))
    },
  },
  csi: {
    async prepare({ juliet }) {
      juliet.send(el('inactive', { xmlns: CSI_NS }))
      await juliet.roundTrip()
    },
    async works({ romeo, juliet }) {
      romeo.send(presence(undefined, juliet.fullJid))
      await romeo.roundTrip()
      // Any answer would bring it along.
      assert.deepEqual(juliet.inbox({ name: 'presence', from: romeo.fullJid }), [])
      juliet.send(el('active', { xmlns: CSI_NS }))
      await juliet.receives({ name: 'presence', from: romeo.fullJid })
      juliet.send(el('inactive', { xmlns: CSI_NS }))
      await juliet.roundTrip()
      // Waits when it is switched off.
      romeo.send(presence(undefined, juliet.fullJid, el('status', {}, 'waits')))
      await romeo.roundTrip()
    },
    async isGone({ romeo, juliet }) {
      const says = (status: string) => (element: Element) =>
        element.name === 'presence' && element.child('status')?.text === status
      await juliet.receives(says('waits'))
      romeo.send(presence(undefined, juliet.fullJid, el('status', {}, 'at once')))
      await juliet.receives(says('at once'))
      // It was told that it may say so.
      juliet.send(el('active', { xmlns: CSI_NS }), el('inactive', { xmlns: CSI_NS }))
      await juliet.roundTrip()
    },
  },
  archive: {
    async works(scene) {
      const body = unique('archived')
      await arrives(scene, scene.juliet, body)
      const { bodies } = await askArchive(scene.juliet)
      assert.equal(bodies.at(-1), body)
      assert.ok(!bodies.some((one) => one.startsWith('forgotten')))
    },
    async isGone(scene) {
      await arrives(scene, scene.juliet, unique('forgotten'))
      await isRefused(scene.juliet, 'set', el('query', { xmlns: MAM }))
    },
  },
  offline: {
    async prepare({ server }) {
      await server.createAccount('nurse')
    },
    async works({ server, romeo }) {
      const body = unique('later')
      await romeo.sends(chat('nurse@im.example.com', body))
      await romeo.roundTrip()
      const nurse = await server.connect('nurse')
      await nurse.receives({ body })
      await nurse.leaves()
      // Kept when it is switched off, and given out when it is on again.
      await romeo.sends(chat('nurse@im.example.com', 'kept'))
      await romeo.roundTrip()
    },
    async isGone({ server, romeo }) {
      const nurse = await server.connect('nurse')
      await nurse.receivesNothing({ name: 'message' })
      await nurse.leaves()
      await romeo.sends(chat('nurse@im.example.com', unique('refused')))
      await romeo.receives({ name: 'message', type: 'error' })
    },
  },
  privacy: {
    async prepare({ romeo, juliet }) {
      const rule = { type: 'jid', value: romeo.bareJid, action: 'deny', order: 1 }
      const list = el('list', { name: 'quiet' }, el('item', rule, el('message')))
      await set(juliet, el('query', { xmlns: PRIVACY }, list))
      await set(juliet, el('query', { xmlns: PRIVACY }, el('active', { name: 'quiet' })))
    },
    async works(scene) {
      await isDenied(scene, scene.juliet)
      await arrives(scene, scene.tablet)
    },
    async isGone(scene) {
      await arrives(scene, scene.juliet)
      await isRefused(scene.juliet, 'get', el('query', { xmlns: PRIVACY }))
    },
  },
  blocking: {
    prepare: ({ romeo, juliet }) =>
      set(juliet, el('block', { xmlns: BLOCKING }, item(romeo.bareJid))),
    async works(scene) {
      await isDenied(scene, scene.juliet)
      const answer = await scene.juliet.ask('get', undefined, el('blocklist', { xmlns: BLOCKING }))
      assert.equal(answer.child('blocklist', BLOCKING)?.elements().length, 1)
    },
    async isGone(scene) {
      await arrives(scene, scene.juliet)
      await isRefused(scene.juliet, 'get', el('blocklist', { xmlns: BLOCKING }))
    },
  },
  roster: {
    async prepare({ juliet }) {
      await juliet.ask('get', undefined, el('query', { xmlns: ROSTER_NS }))
    },
    async works({ juliet, tablet }) {
      const contact = `contact${++last}@example.org`
      await set(tablet, el('query', { xmlns: ROSTER_NS }, item(contact)))
      // Who has asked once is told.
      await juliet.receives(
        (element) =>
          element.child('query', ROSTER_NS)?.elements()[0]?.attr('jid') === contact &&
          element.attr('type') === 'set',
      )
    },
    isGone: ({ juliet }) => isRefused(juliet, 'get', el('query', { xmlns: ROSTER_NS })),
  },
  vcard: {
    prepare: ({ juliet }) => set(juliet, el('vCard', { xmlns: VCARD_NS }, el('FN', {}, 'Juliet'))),
    async works({ romeo, juliet }) {
      const answer = await romeo.ask('get', juliet.bareJid, el('vCard', { xmlns: VCARD_NS }))
      assert.equal(answer.child('vCard', VCARD_NS)?.child('FN')?.text, 'Juliet')
    },
    isGone: ({ juliet }) => isRefused(juliet, 'get', el('vCard', { xmlns: VCARD_NS })),
  },
  private: {
    prepare: ({ juliet }) =>
      set(juliet, el('query', { xmlns: PRIVATE_NS }, el('notes', { xmlns: 'urn:n' }, 'mine'))),
    async works({ juliet }) {
      const asked = el('query', { xmlns: PRIVATE_NS }, el('notes', { xmlns: 'urn:n' }))
      assert.match(String(await juliet.ask('get', undefined, asked)), /mine/)
    },
    isGone: ({ juliet }) =>
      isRefused(juliet, 'get', el('query', { xmlns: PRIVATE_NS }, el('notes', { xmlns: 'urn:n' }))),
  },
}

async function scene(server: TestServer): Promise<Scene> {
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  const tablet = await server.connect('juliet', 'tablet')
  return { server, romeo, juliet, tablet }
}

describe('what a client has of a module is there again when that is switched on again', () => {
  for (const [name, { prepare, works, isGone }] of Object.entries(SERVICES)) {
    test(name, async () => {
      await using server = await startServer()
      const all = await scene(server)
      await prepare?.(all)
      await works(all)
      for (let times = 0; times < 2; times++) {
        await server.reload({ modules: { [name]: { enabled: false } } })
        await isGone(all)
        await server.reload({})
        await works(all)
      }
      for (const client of [all.romeo, all.juliet, all.tablet]) await client.roundTrip()
    })
  }
})

test('no module takes a client with it, or what is on its way', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo', 'orchard')
  const juliet = await server.connect('juliet', 'balcony')
  await enable(juliet)
  let sent = 0
  const exchange = async () => {
    const bodies = Array.from({ length: 5 }, () => String(++sent))
    romeo.send(...bodies.map((body) => chat(juliet.fullJid, body)))
    for (const body of bodies) {
      assert.equal((await juliet.receives({ name: 'message' })).child('body')?.text, body)
    }
  }
  for (const { name } of modules) {
    for (const settings of [{ modules: { [name]: { enabled: false } } }, {}]) {
      await Promise.all([exchange(), server.reload(settings)])
      await exchange()
      await romeo.roundTrip()
      await juliet.roundTrip()
    }
  }
  assert.equal(sent, modules.length * 20)
  assert.ok((await handled(juliet)) > 0)
})

// --- Stream management.

const OFF = { modules: { stream_management: false } } as const
const offered = ({ features }: Client) => features?.child('sm', SM_NS) !== undefined

test('a managed stream stays so when that is switched off, and new ones are not offered it', async () => {
  await using server = await startServer()
  const romeo = await server.connect('romeo')
  const { client: juliet, id } = await connectResumable(server, 'juliet', 'balcony')
  await juliet.becomesAvailable()
  const before = await handled(juliet)
  await romeo.sends(chat(juliet.bareJid, 'not acknowledged'))
  await juliet.receives({ body: 'not acknowledged' })

  await server.reload(OFF)
  await juliet.sends(chat(romeo.fullJid, 'still here'))
  await romeo.receives({ body: 'still here' })
  await handles(juliet, before + 1)
  const mercutio = await server.connect('mercutio')
  assert.equal(offered(mercutio), false)
  assert.equal(refusal(await enable(mercutio)), 'feature-not-implemented')
  await mercutio.roundTrip()

  // It was promised that it may come back.
  await juliet.vanishes()
  await romeo.sends(chat(juliet.fullJid, 'while away'))
  await romeo.roundTrip()
  assert.equal(offered(await authenticated(server, 'juliet')), true)
  const { client: again } = await resume(server, { id, h: 0, fullJid: juliet.fullJid })
  await again.receives({ body: 'not acknowledged' })
  await again.receives({ body: 'while away' })
  await server.reload({})
  await romeo.sends(chat(again.fullJid, 'and on'))
  await again.receives({ body: 'and on' })
  acknowledge(again, 4)
  await again.leaves()

  await server.reload(OFF)
  assert.equal(offered(await authenticated(server, 'juliet')), false)
})

test('what waits for a managed stream is not lost with a start without that module', async () => {
  await using directory = await emptyDirectory()
  const settings = { data_dir: directory.path, storage: { url: 'sqlite:meerkat.db' } }
  let session: { readonly id: string; readonly fullJid: string }
  {
    await using server = await startServer(settings)
    const romeo = await server.connect('romeo')
    const { client: juliet, id } = await connectResumable(server, 'juliet', 'balcony')
    await juliet.becomesAvailable()
    session = { id, fullJid: juliet.fullJid }
    await juliet.vanishes()
    await romeo.sends(chat(juliet.fullJid, 'kept for her'))
    await romeo.roundTrip()
  }
  await using server = await startServer({ ...settings, ...OFF })
  const { client: juliet } = await resume(server, { ...session, h: 0 })
  await juliet.receives({ body: 'kept for her' })
})
