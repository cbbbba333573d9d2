import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conditionOf, DOMAIN, startCore } from '../../test/support/core.ts'
import { DISCO_INFO_NS } from '../core/disco.ts'
import { resultOf } from '../core/hooks.ts'
import { CAPS_NS, verificationString } from '../xmpp/caps.ts'
import { type Element, el } from '../xmpp/xml.ts'
import { caps } from './caps.ts'
import { contactAddresses } from './contact-addresses.ts'
import { disco } from './disco.ts'

type Core = Awaited<ReturnType<typeof startCore>>

const ROMEO = 'romeo@elsewhere.example'

const offered = async ({ hooks }: Core): Promise<Element> => {
  const stream = { domain: DOMAIN, account: undefined, isEncrypted: true }
  const features = resultOf(await hooks.at('c2s_stream_features').run([], stream), [])
  return features.find(({ ns }) => ns === CAPS_NS) as Element
}

const askNode = ({ ask }: Core, core: Core, node: string | undefined) =>
  ask.call(core, ROMEO, DOMAIN, 'get', el('query', { xmlns: DISCO_INFO_NS, node }))

/** As a client does it (XEP-0115 §5.4). */
const reconstruct = (query: Element) =>
  verificationString({
    identities: query.elements('identity').map((identity) => ({
      category: identity.attr('category') ?? '',
      type: identity.attr('type') ?? '',
      name: identity.attr('name'),
    })),
    features: query.elements('feature').map((feature) => feature.attr('var') ?? ''),
    forms: query.elements('x', 'jabber:x:data'),
  })

const modules = [
  [disco],
  [caps],
  [contactAddresses, { admin: ['xmpp:friar@im.example.com'] }],
] as const

test('the stream feature verifies against what the node answers', async () => {
  await using core = await startCore({ modules })
  const c = await offered(core)
  const node = `${c.attr('node')}#${c.attr('ver')}`
  const query = (await askNode(core, core, node)).childAt(0) as Element
  assert.equal(c.attr('hash'), 'sha-1')
  assert.equal(query.attr('node'), node)
  assert.equal(reconstruct(query), c.attr('ver'))
  const whole = (await askNode(core, core, undefined)).childAt(0) as Element
  assert.equal(reconstruct(whole), c.attr('ver'))
})

test('the string changes with the modules, and the old one is unknown then', async () => {
  await using core = await startCore({ modules })
  const before = await offered(core)
  await core.modules.unload('contact_addresses')
  const after = await offered(core)
  assert.notEqual(after.attr('ver'), before.attr('ver'))
  const stale = await askNode(core, core, `${before.attr('node')}#${before.attr('ver')}`)
  assert.equal(conditionOf(stale), 'item-not-found')
})
