/**
 * Stanzas as clients send and get them, in the mix of a busy day; the same for the same seed.
 * About 750 bytes each in the mean.
 */
export function stanzas(count: number, seed = 1): Buffer[] {
  const random = generator(seed)
  const all: Buffer[] = []
  for (let k = 0; k < count; k++) {
    const point = random(100)
    const kind = MIX.find(({ upTo }) => point < upTo) as (typeof MIX)[number]
    all.push(Buffer.from(kind.make(random)))
  }
  return all
}

export const STREAM_START = Buffer.from(
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client'" +
    " xmlns:stream='http://etherx.jabber.org/streams' to='im.example.com' version='1.0'>",
)

type Random = (below: number) => number

/** Percentages, added up. */
const MIX: readonly { upTo: number; make: (random: Random) => string }[] = [
  { upTo: 50, make: chat },
  { upTo: 58, make: encrypted },
  { upTo: 72, make: chatState },
  { upTo: 84, make: presence },
  { upTo: 94, make: archived },
  { upTo: 100, make: rosterPush },
]

const WORDS =
  'what light through yonder window breaks it is the east and juliet is the sun arise fair sun & kill the envious moon who is already sick and pale with grief that thou her maid art far more fair than she être naïve Привет 😀'.split(
    ' ',
  )

/** A linear congruential generator: its numbers need only be the same everywhere. */
function generator(seed: number): Random {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

function hex(random: Random, length: number): string {
  let digits = ''
  while (digits.length < length) digits += random(16).toString(16)
  return digits
}

function base64(random: Random, bytes: number): string {
  return Buffer.from(Array.from({ length: bytes }, () => random(256))).toString('base64')
}

function uuid(random: Random): string {
  const digits = hex(random, 32)
  return [8, 12, 16, 20]
    .reduceRight((text, at) => `${text.slice(0, at)}-${text.slice(at)}`, digits)
    .toLowerCase()
}

function user(random: Random): string {
  return `user${random(5000)}@im.example.com`
}

function sentence(random: Random, words: number): string {
  return Array.from({ length: words }, () => WORDS[random(WORDS.length)])
    .join(' ')
    .replaceAll('&', '&amp;')
}

function chat(random: Random): string {
  const id = uuid(random)
  return (
    `<message to='${user(random)}/phone.${hex(random, 6)}' type='chat' id='${id}' xml:lang='en'>` +
    `<body>${sentence(random, 12 + random(20))}</body>` +
    `<origin-id xmlns='urn:xmpp:sid:0' id='${id}'/>` +
    `<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>` +
    `<active xmlns='http://jabber.org/protocol/chatstates'/></message>`
  )
}

function encrypted(random: Random): string {
  const keys = Array.from(
    { length: 20 },
    () => `<key rid='${random(2 ** 31)}'>${base64(random, 132)}</key>`,
  )
  return (
    `<message to='${user(random)}' type='chat' id='${uuid(random)}'>` +
    `<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='${random(2 ** 31)}'>` +
    `${keys.join('')}<iv>${base64(random, 12)}</iv></header>` +
    `<payload>${base64(random, 60 + random(100))}</payload></encrypted>` +
    `<encryption xmlns='urn:xmpp:eme:0' name='OMEMO' namespace='eu.siacs.conversations.axolotl'/>` +
    `<body>I sent you an OMEMO encrypted message but your client doesn't seem to support that.</body>` +
    `<store xmlns='urn:xmpp:hints'/></message>`
  )
}

function chatState(random: Random): string {
  const state = random(2) === 0 ? 'composing' : 'paused'
  return (
    `<message to='${user(random)}/desk' type='chat' id='${hex(random, 12)}'>` +
    `<${state} xmlns='http://jabber.org/protocol/chatstates'/>` +
    `<no-store xmlns='urn:xmpp:hints'/></message>`
  )
}

function presence(random: Random): string {
  return (
    `<presence id='${hex(random, 8)}'><show>away</show><priority>${random(10)}</priority>` +
    `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example.org'` +
    ` ver='${base64(random, 20)}'/><x xmlns='vcard-temp:x:update'>` +
    `<photo>${hex(random, 40)}</photo></x></presence>`
  )
}

function archived(random: Random): string {
  const id = uuid(random)
  return (
    `<message to='${user(random)}/desk' id='${hex(random, 8)}'>` +
    `<result xmlns='urn:xmpp:mam:2' queryid='${hex(random, 6)}' id='${random(2 ** 31)}'>` +
    `<forwarded xmlns='urn:xmpp:forward:0'>` +
    `<delay xmlns='urn:xmpp:delay' stamp='2026-01-12T10:${10 + random(50)}:00.000Z'/>` +
    `<message xmlns='jabber:client' from='${user(random)}/phone' to='${user(random)}' type='chat'` +
    ` id='${id}'><body>${sentence(random, 12 + random(20))}</body>` +
    `<origin-id xmlns='urn:xmpp:sid:0' id='${id}'/>` +
    `<stanza-id xmlns='urn:xmpp:sid:0' by='im.example.com' id='${random(2 ** 31)}'/>` +
    `</message></forwarded></result></message>`
  )
}

function rosterPush(random: Random): string {
  const items = Array.from(
    { length: 1 + random(6) },
    () =>
      `<item jid='${user(random)}' name='${sentence(random, 2)}' subscription='both'>` +
      `<group>Friends</group></item>`,
  )
  return (
    `<iq type='set' id='${hex(random, 8)}'>` +
    `<query xmlns='jabber:iq:roster'>${items.join('')}</query></iq>`
  )
}
