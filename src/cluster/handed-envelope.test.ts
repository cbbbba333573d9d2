import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Envelope, type Notes, type Origin } from '../core/envelope.ts'
import { Settlement } from '../core/settlement.ts'
import { parseJid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { el } from '../xmpp/xml.ts'
import { EnvelopeReader, EnvelopeWriter } from './handed-envelope.ts'

/** Characters that XML and JIDs have. */
const text = fc
  .string({ unit: 'grapheme' })
  .map((all) => all.replace(/[^\p{L}\p{N}\p{Emoji}’& <>"']/gu, ''))
const local = fc.constantFrom('romeo', 'ромео', '羅密歐', 'juliette-é', 'a.b')
const jid = fc
  .tuple(
    local,
    fc.constantFrom('im.example.com', 'bücher.example'),
    fc.constantFrom('', '/balcony', '/バルコニー 1'),
  )
  .map(([name, domain, resource]) => parseJid(`${name}@${domain}${resource}`))
const stanza = fc
  .record({
    kind: fc.constantFrom('message', 'presence', 'iq'),
    id: fc.option(text, { nil: undefined }),
    lang: fc.constantFrom(undefined, '', 'de', "l'è"),
    type: fc.constantFrom('chat', 'error', 'normal', 'other', 'autre é', '', undefined),
    bodies: fc.array(fc.tuple(fc.constantFrom('body', 'thread', 'x'), text), { maxLength: 4 }),
  })
  .map(({ kind, id, type, lang, bodies }) =>
    Stanza.build(
      kind as 'message',
      { id, type, lang },
      ...bodies.map(([name, content]) =>
        el(name, { xmlns: `urn:example:${name}`, a: content }, content),
      ),
    ),
  )
/** In microseconds since the epoch, as `Places` gives them; and whatever else is whole. */
const place = fc.oneof(fc.nat(), fc.integer({ min: 1.7e15, max: 1.8e15 }))
/** Of the form that nodes give. */
const id = fc.stringMatching(/^[-A-Za-z0-9_.]{1,20}:[0-9a-z]{1,10}:[0-9a-z]{1,10}$/)
const notes: fc.Arbitrary<Notes> = fc.oneof(
  fc.record(
    { offline: fc.nat(), isRetry: fc.boolean(), hops: fc.nat(9), archived: text, id, place },
    { requiredKeys: [] },
  ),
  fc.record({ id, place }),
)
const origin: fc.Arbitrary<Origin> = fc.oneof(
  fc.constantFrom<Origin>({ kind: 'server' }, { kind: 'admin' }),
  fc.constant<Origin>({ kind: 'component', domain: 'räume.example' }),
)

test('a stanza on its way to another node arrives as it was', () => {
  const target = fc.oneof(jid, text)
  const slot = fc.constantFrom(undefined, 0, 1, 1024, 7000)
  const all = fc.tuple(jid, jid, stanza, origin, notes, fc.boolean(), fc.boolean(), target, slot)
  const writer = new EnvelopeWriter()
  const reader = new EnvelopeReader()
  fc.assert(
    fc.property(all, ([from, to, sent, origin, notes, wantsSettlement, isShared, whom, slot]) => {
      const target = String(whom)
      const envelope = new Envelope(from, to, sent, origin, notes)
      const handed = { target, wantsSettlement, isShared }
      const packed = writer.write('D', envelope, handed, slot)
      assert.equal(writer.write('D', envelope, handed, slot), packed)
      const unpacked = reader.read(packed)
      assert.deepEqual(unpacked.handed, handed)
      const settlement = new Settlement()
      const got = unpacked.envelope('one:1 two:1 7', settlement)
      assert.equal(got.from.full, from.full)
      assert.equal(got.to.full, to.full)
      assert.equal(got.octets, envelope.octets)
      assert.equal(got.stanza.id, sent.id)
      assert.equal(got.stanza.type, sent.type)
      assert.deepEqual(got.stanza.children, sent.children)
      assert.equal(got.stanza.with({ id: 'b' }).head, sent.with({ id: 'b' }).head)
      assert.equal(got.stanza.lang, sent.lang)
      assert.deepEqual(got.origin, origin)
      assert.deepEqual(got.notes, { ...notes, handed: 'one:1 two:1 7' })
      assert.equal(got.settlement, settlement)
    }),
  )
})

test('the number of a durable copy stays with the node that has it', () => {
  const envelope = new Envelope(
    parseJid('romeo@im.example.com'),
    parseJid('juliet@im.example.com'),
    Stanza.build('message'),
    { kind: 's2s', domain: 'im.example.com' },
    { kept: 5, place: 6 },
  )
  const handed = { target: 'juliet@im.example.com/balcony', wantsSettlement: true, isShared: false }
  const packed = new EnvelopeWriter().write('D', envelope, handed)
  const { notes } = new EnvelopeReader().read(packed).envelope(undefined)
  assert.deepEqual(notes, { place: 6 })
})
