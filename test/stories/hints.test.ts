import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { askArchive } from '../support/archive.ts'
import type { Client } from '../support/client.ts'
import { blocks } from '../support/privacy.ts'
import { DOMAIN, startServer } from '../support/server.ts'
import { message } from '../support/stanzas.ts'

const JULIET = `juliet@${DOMAIN}`
const BODY = el('body', {}, 'Wherefore art thou?')
const STATE = el('composing', { xmlns: 'http://jabber.org/protocol/chatstates' })
const UNKNOWN = el('x', { xmlns: 'urn:example' })
const HINTS = ['store', 'no-store', 'no-permanent-store', 'no-copy'] as const
type Hint = (typeof HINTS)[number]

const CONTENTS: Readonly<Record<string, readonly Element[]>> = {
  'a body': [BODY],
  'a body and a state': [BODY, STATE],
  'a state': [STATE],
  'something unknown': [UNKNOWN],
}

/** What becomes of a message (XEP-0334 §4, XEP-0313 §6.1, XEP-0160 §3), whoever is there. */
type Fate = {
  readonly isArchived: boolean
  /** What happens when its recipient is away. */
  readonly whenAway: 'stored' | 'refused' | 'forgotten'
}

function fateOf(
  type: string | undefined,
  content: readonly Element[],
  hints: readonly Hint[],
): Fate {
  if (type === 'headline') return { isArchived: false, whenAway: 'forgotten' }
  const mayStore = !hints.includes('no-store')
  const isMeant = content.includes(BODY) || hints.includes('store')
  const isArchived = isMeant && mayStore && !hints.includes('no-permanent-store')
  if (!content.includes(BODY) && content.includes(STATE) && !hints.includes('store')) {
    return { isArchived, whenAway: 'forgotten' }
  }
  return { isArchived, whenAway: mayStore ? 'stored' : 'refused' }
}

const COMBINATIONS: readonly (readonly Hint[])[] = [
  [],
  ...HINTS.map((hint) => [hint]),
  ['store', 'no-store'],
  ['store', 'no-permanent-store'],
  ['no-store', 'no-copy'],
]

const STATES = ['there', 'away', 'blocking'] as const

async function archived(client: Client): Promise<Set<string>> {
  const ids = new Set<string>()
  for (let after: string | undefined; ; ) {
    const page = after === undefined ? {} : { after }
    const { results, last, isComplete } = await askArchive(client, { page })
    for (const result of results) {
      const id = result.message.attr('id') ?? ''
      assert(!ids.has(id), `${id} is there twice`)
      ids.add(id)
    }
    if (isComplete) return ids
    after = last
  }
}

for (const state of STATES) {
  test(`types, contents and hints, the recipient ${state}`, async () => {
    await using server = await startServer()
    await server.createAccount('juliet')
    const romeo = await server.connect('romeo')
    const reader = await server.connect('juliet', 'reader', { priority: undefined })
    if (state === 'blocking') await blocks(reader, romeo.bareJid)
    const juliet = state === 'away' ? undefined : await server.connect('juliet', 'balcony')

    const sent = new Map<string, { readonly what: string; readonly fate: Fate }>()
    for (const type of ['chat', 'normal', undefined, 'headline']) {
      for (const [name, content] of Object.entries(CONTENTS)) {
        for (const hints of COMBINATIONS) {
          const children = hints.map((hint) => el(hint, { xmlns: 'urn:xmpp:hints' }))
          const stanza = message(type, JULIET, undefined, ...content, ...children)
          const what = `${type ?? 'no type'}, ${name}, ${hints.join(' and ') || 'no hint'}`
          sent.set(stanza.attr('id') ?? '', { what, fate: fateOf(type, content, hints) })
          romeo.send(stanza)
        }
      }
    }
    await romeo.roundTrip()
    await reader.roundTrip()
    await juliet?.roundTrip()

    const delivered = new Set(juliet?.inbox({ name: 'message' }).map((one) => one.attr('id')))
    const refused = new Set(
      romeo.inbox({ error: 'service-unavailable' }).map((one) => one.attr('id')),
    )
    const ofRomeo = await archived(romeo)
    const ofJuliet = await archived(reader)
    const next = await server.connect('juliet', 'chamber', { priority: 1 })
    await next.roundTrip()
    const stored = new Set(next.inbox({ name: 'message' }).map((one) => one.attr('id')))

    for (const [id, { what, fate }] of sent) {
      const isRefused = state === 'blocking' || (state === 'away' && fate.whenAway === 'refused')
      const isArchived = fate.isArchived && !isRefused
      assert.deepEqual(
        {
          delivered: delivered.has(id),
          stored: stored.has(id),
          refused: refused.has(id),
          archived: [ofRomeo.has(id), ofJuliet.has(id)],
        },
        {
          delivered: state === 'there',
          stored: state === 'away' && fate.whenAway === 'stored',
          refused: isRefused,
          archived: [isArchived, isArchived],
        },
        what,
      )
    }
  })
}
