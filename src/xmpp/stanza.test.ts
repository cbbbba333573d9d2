import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseJid } from './jid.ts'
import { bytesOf, encode } from './octets.ts'
import { CLIENT_NS, Stanza } from './stanza.ts'
import { el, serialise } from './xml.ts'
import { type Frame, readElement, XmlStreamParser } from './xml-parser.ts'

const COMPONENT_NS = 'jabber:component:accept'
const limits = { maxStanzaSize: 10_000, maxDepth: 100, maxAttributes: 100 }

/** A first-level element of a stream whose content namespace is `ns`. */
function frame(ns: string, xml: string): Frame {
  let found: Frame | undefined
  const parser = new XmlStreamParser(
    {
      onStreamStart() {},
      onElement(element) {
        found = element
      },
      onStreamEnd() {},
    },
    limits,
  )
  parser.push(bytesOf(encode(`<stream:stream xmlns='${ns}' xmlns:stream='s'>${xml}`)))
  assert.ok(found !== undefined)
  return found
}

/** As a stream of the content namespace `ns` shows it to its reader, written without doubt. */
const seen = (octets: string, ns: string) => serialise(readElement(encode(octets), ns))

const juliet = parseJid('juliet@im.example.com')

for (const body of ['<body>x</body>', `<body xmlns='${COMPONENT_NS}'>x</body>`]) {
  test(`a component's ${body} is a client's`, () => {
    const stanza = Stanza.fromFrame(frame(COMPONENT_NS, `<message>${body}</message>`), COMPONENT_NS)
    assert.equal(stanza.child('body')?.text, 'x')
    const octets = stanza.toOctets(undefined, juliet)
    assert.equal(
      seen(octets, CLIENT_NS),
      `<message xmlns='jabber:client' to='juliet@im.example.com'><body>x</body></message>`,
    )
  })
}

for (const body of [
  '<body>x</body>',
  `<body xmlns='jabber:client'>x</body>`,
  `<c:body xmlns:c='jabber:client'>x</c:body>`,
]) {
  test(`a client's ${body} is a component's`, () => {
    const stanza = Stanza.fromFrame(frame(CLIENT_NS, `<message>${body}</message>`))
    assert.equal(
      seen(stanza.toForeignOctets(juliet, undefined), COMPONENT_NS),
      `<message xmlns='${COMPONENT_NS}' from='juliet@im.example.com'><body>x</body></message>`,
    )
  })
}

test('a stanza that is forwarded inside stays that of a client', () => {
  const inner = `<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>x</body></message></forwarded>`
  const stanza = Stanza.fromFrame(frame(CLIENT_NS, `<message> ${inner} </message>`))
  assert.ok(stanza.toForeignOctets(undefined, undefined).includes(inner))
})

test('our own error is in the namespace of the stream', () => {
  const error = el('error', { xmlns: CLIENT_NS, type: 'cancel' })
  const stanza = Stanza.build('iq', { type: 'error', id: '1' }, error)
  assert.equal(
    stanza.toForeignOctets(undefined, undefined),
    `<iq id='1' type='error'><error type='cancel'/></iq>`,
  )
})
