/** What a client has a server keep, and asks it for again. */
import assert from 'node:assert/strict'
import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from '../support/client.ts'

const roster = (...items: Element[]) => el('query', { xmlns: 'jabber:iq:roster' }, ...items)
const stored = (...children: Element[]) => el('query', { xmlns: 'jabber:iq:private' }, ...children)
const NOTE = { xmlns: 'urn:example:note' }
const NAME = 'Jülïet "q" \\ & <c>'

export async function setsEverything(client: Client): Promise<void> {
  const groups = ['Friends', 'Löve'].map((name) => el('group', {}, name))
  const item = el('item', { jid: 'juliet@capulet.example', name: NAME }, ...groups)
  const note = el('note', { ...NOTE, 'xml:lang': 'en' }, el('line', {}, 'a & <b>'))
  const blocked = el('item', { jid: 'tybalt@capulet.example' })
  for (const payload of [
    roster(item),
    stored(note),
    el('block', { xmlns: 'urn:xmpp:blocking' }, blocked),
  ]) {
    const answer = await client.ask('set', client.bareJid, payload)
    assert.equal(answer.attr('type'), 'result', String(answer))
  }
}

export async function showsEverything(client: Client): Promise<void> {
  const get = async (payload: Element) => {
    const answer = await client.ask('get', client.bareJid, payload)
    return answer.elements()[0]?.elements() ?? []
  }
  const items = await get(roster())
  const juliet = items.find((item) => item.attr('jid') === 'juliet@capulet.example')
  assert.equal(juliet?.attr('name'), NAME)
  const groups = juliet?.elements('group').map(({ text }) => text)
  assert.deepEqual(groups?.toSorted(), ['Friends', 'Löve'])
  const [note] = await get(stored(el('note', NOTE)))
  assert.equal(note?.child('line')?.text, 'a & <b>')
  assert.equal(note?.attr('xml:lang'), 'en')
  const [blocked] = await get(el('blocklist', { xmlns: 'urn:xmpp:blocking' }))
  assert.equal(blocked?.attr('jid'), 'tybalt@capulet.example')
}
