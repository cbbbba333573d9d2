import type { Jid } from '../xmpp/jid.ts'
import { type Element, el } from '../xmpp/xml.ts'
import { type Handler, type HookName, type HookSource, resultOf } from './hooks.ts'
import type { Session } from './session.ts'

export const DISCO_INFO_NS = 'http://jabber.org/protocol/disco#info'
export const DISCO_ITEMS_NS = 'http://jabber.org/protocol/disco#items'

/** XEP-0030 §3.1. */
export type DiscoIdentity = {
  readonly category: string
  readonly type: string
  readonly name?: string
}

/** XEP-0030 §4.1. */
export type DiscoItem = { readonly jid: string; readonly node?: string; readonly name?: string }

/** What is asked. `target` is a hosted domain or an account; `node` is '' when absent. */
export type DiscoQuery = {
  readonly from: Jid
  readonly target: Jid
  readonly node: string
  /** Of who asks, when that is a client of this node itself: nobody speaks for it. */
  readonly session?: Session | undefined
}

/** XEP-0030 §3 and XEP-0128: what an entity, or one of its nodes, says about itself. */
export type DiscoInfo = {
  readonly identities: readonly DiscoIdentity[]
  readonly features: readonly string[]
  readonly forms: readonly Element[]
}

type On = <N extends HookName>(name: N, handler: Handler<N>) => void

/** Announces the features of a module's definition: of the server or account, not of its nodes. */
export function announceFeatures(
  on: On,
  {
    features = [],
    accountFeatures = [],
  }: { readonly features?: readonly string[]; readonly accountFeatures?: readonly string[] },
): void {
  if (features.length > 0) {
    on('disco_local_features', (acc, { node }) => (node === '' ? [...acc, ...features] : acc))
  }
  if (accountFeatures.length > 0) {
    on('disco_sm_features', (acc, { node }) => (node === '' ? [...acc, ...accountFeatures] : acc))
  }
}

/** Asks the hooks about a domain or an account. Who may know is decided before. */
export async function discoverInfo(
  hooks: HookSource,
  domainType: string | undefined,
  query: DiscoQuery,
): Promise<DiscoInfo> {
  const isDomain = query.target.isDomain
  const identity = isDomain ? 'disco_local_identity' : 'disco_sm_identity'
  const feature = isDomain ? 'disco_local_features' : 'disco_sm_features'
  const identities = resultOf(await hooks.at(identity, domainType).run([], query), [])
  const features = resultOf(await hooks.at(feature, domainType).run([], query), [])
  const forms = resultOf(await hooks.at('disco_info', domainType).run([], query), [])
  return { identities, features: [...new Set(features)], forms }
}

/** As `discoverInfo`, for the items. */
export async function discoverItems(
  hooks: HookSource,
  domainType: string | undefined,
  query: DiscoQuery,
): Promise<readonly DiscoItem[]> {
  const item = query.target.isDomain ? 'disco_local_items' : 'disco_sm_items'
  return resultOf(await hooks.at(item, domainType).run([], query), [])
}

/** The result's payload; the node asked for is repeated (XEP-0030 §3.2). */
export function infoElement({ identities, features, forms }: DiscoInfo, node: string): Element {
  return el(
    'query',
    { xmlns: DISCO_INFO_NS, node: node === '' ? undefined : node },
    ...identities.map(({ category, type, name }) => el('identity', { category, type, name })),
    ...features.map((feature) => el('feature', { var: feature })),
    ...forms,
  )
}

/** The result's payload. */
export function itemsElement(items: readonly DiscoItem[], node: string): Element {
  return el(
    'query',
    { xmlns: DISCO_ITEMS_NS, node: node === '' ? undefined : node },
    ...items.map(({ jid, node: itemNode, name }) => el('item', { jid, node: itemNode, name })),
  )
}
