import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type PageRequest, pageElement, RSM_NS, readPageRequest } from './rsm.ts'
import { StanzaError } from './stanza-error.ts'
import { type Element, el } from './xml.ts'

const query = (...children: Element[]) =>
  el('query', { xmlns: 'urn:xmpp:mam:2' }, el('set', { xmlns: RSM_NS }, ...children))

describe('a page request', () => {
  const taken: [name: string, Element[], PageRequest][] = [
    ['empty', [], {}],
    ['first page', [el('max', {}, '10')], { max: 10 }],
    ['next page', [el('max', {}, '10'), el('after', {}, 'x')], { max: 10, after: 'x' }],
    ['previous page', [el('before', {}, 'x'), el('max', {}, '10')], { max: 10, before: 'x' }],
    ['last page', [el('max', {}, '10'), el('before')], { max: 10, before: '' }],
    ['page at index', [el('max', {}, '10'), el('index', {}, '371')], { max: 10, index: 371 }],
    ['count', [el('max', {}, '0')], { max: 0 }],
    ['number amid spaces', [el('max', {}, '\n 10 ')], { max: 10 }],
    ['identifier amid spaces', [el('after', {}, ' x ')], { after: ' x ' }],
    ['empty after', [el('after')], {}],
    ['largest number', [el('max', {}, '2147483647')], { max: 2_147_483_647 }],
    ['unknown child', [el('shade', {}, 'dark'), el('max', {}, '1')], { max: 1 }],
    ['child of another namespace', [el('max', { xmlns: 'urn:example' }, 'x')], {}],
  ]
  for (const [name, children, expected] of taken) {
    test(name, () => assert.deepEqual(readPageRequest(query(...children)), expected))
  }

  test('may be absent', () => {
    assert.equal(readPageRequest(el('query', { xmlns: 'urn:xmpp:mam:2' })), undefined)
    const stranger = el('query', { xmlns: 'urn:xmpp:mam:2' }, el('set'))
    assert.equal(readPageRequest(stranger), undefined)
  })

  const refused: [name: string, Element[]][] = [
    ['empty number', [el('max')]],
    ['negative number', [el('max', {}, '-1')]],
    ['fraction', [el('max', {}, '1.5')]],
    ['exponent', [el('max', {}, '1e3')]],
    ['hexadecimal number', [el('index', {}, '0x10')]],
    ['number beyond xs:int', [el('max', {}, '2147483648')]],
    ['other digits', [el('max', {}, '\u0661')]],
    ['repeated child', [el('max', {}, '1'), el('max', {}, '1')]],
    ['both directions', [el('before', {}, 'x'), el('after', {}, 'y')]],
    ['last page and index', [el('before'), el('index', {}, '0')]],
    ['after and index', [el('after', {}, 'x'), el('index', {}, '0')]],
  ]
  for (const [name, children] of refused) {
    test(`refuses: ${name}`, () =>
      assert.throws(
        () => readPageRequest(query(...children)),
        (error) => error instanceof StanzaError && error.condition === 'bad-request',
      ))
  }

  test('refuses: two sets', () => {
    const set = el('set', { xmlns: RSM_NS })
    assert.throws(() => readPageRequest(el('query', { xmlns: 'urn:x' }, set, set)), StanzaError)
  })
})

describe('a page', () => {
  test('tells first, index, last and count', () => {
    assert.equal(
      pageElement({ first: 'a', firstIndex: 0, last: 'b', count: 800 }).toString(),
      "<set xmlns='http://jabber.org/protocol/rsm'><first index='0'>a</first><last>b</last><count>800</count></set>",
    )
  })

  test('leaves out what is not known', () => {
    assert.equal(
      pageElement({ first: 'a', last: 'a' }).toString(),
      "<set xmlns='http://jabber.org/protocol/rsm'><first>a</first><last>a</last></set>",
    )
    assert.equal(
      pageElement({ count: 0 }).toString(),
      "<set xmlns='http://jabber.org/protocol/rsm'><count>0</count></set>",
    )
  })
})
