import { DISCO_INFO_NS, type DiscoInfo } from '../../core/disco.ts'
import type { ModuleContext } from '../../core/module.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { DELEGATION_NS, type Delegations, isSpecial } from './delegations.ts'

type Context = Pick<ModuleContext<unknown>, 'hooks' | 'iq' | 'log'>

const FORM_NS = 'jabber:x:data'
const NOTHING: DiscoInfo = { identities: [], features: [], forms: [] }

/** What a component says of one namespace, for the server and for its accounts. */
type Nested = {
  readonly component: string
  readonly server: DiscoInfo
  readonly account: DiscoInfo
}

/**
 * XEP-0355 §7.2: what the server tells about a delegated namespace is what its component tells, and
 * nothing of its own. Components are asked when they come.
 */
export class NestedDisco {
  readonly #context: Context
  readonly #delegations: Delegations
  /** By component and namespace: several may have parts of one namespace. */
  readonly #nested = new Map<string, Nested>()

  constructor(context: Context, delegations: Delegations) {
    this.#context = context
    this.#delegations = delegations
    const { hooks } = context
    const last = { order: 90 }
    hooks.on(
      'disco_local_identity',
      (all, { node }) => this.#add(all, node, 'server', 'identities'),
      last,
    )
    hooks.on(
      'disco_sm_identity',
      (all, { node }) => this.#add(all, node, 'account', 'identities'),
      last,
    )
    hooks.on(
      'disco_local_features',
      (all, { node }) => this.#add(this.#foreign(all, node), node, 'server', 'features'),
      last,
    )
    hooks.on(
      'disco_sm_features',
      (all, { node }) => this.#add(this.#foreign(all, node), node, 'account', 'features'),
      last,
    )
    hooks.on(
      'disco_info',
      (all, { node, target }) =>
        this.#add(
          node === '' ? all.filter((form) => !this.#isDelegated(typeOf(form))) : all,
          node,
          target.isDomain ? 'server' : 'account',
          'forms',
        ),
      last,
    )
  }

  /**
   * Asks a component, on behalf of `server`, what it has to tell of the namespaces it answers. What it
   * has told counts if it `isThere` still. Does not reject.
   */
  async ask(server: Jid, component: Jid, isThere: () => boolean): Promise<void> {
    for (const { namespace } of this.#delegations.to(component.domain)) {
      if (isSpecial(namespace)) continue
      const info = (separator: string) =>
        this.#infoOf(server, component, `${DELEGATION_NS}${separator}${namespace}`)
      const nested = {
        component: component.domain,
        server: await info('::'),
        account: await info(':bare:'),
      }
      if (!isThere()) return
      this.#nested.set(`${component.domain} ${namespace}`, nested)
    }
    await this.#changed()
  }

  /** A component is gone, and what it told with it. */
  async forget(component: string): Promise<void> {
    for (const [key, nested] of this.#nested) {
      if (nested.component === component) this.#nested.delete(key)
    }
    await this.#changed()
  }

  async #infoOf(server: Jid, component: Jid, node: string): Promise<DiscoInfo> {
    const query = el('query', { xmlns: DISCO_INFO_NS, node })
    try {
      return infoIn(await this.#context.iq.request(server, component, 'get', query))
    } catch (error) {
      this.#context.log.debug('component_tells_nothing', {
        component: component.domain,
        node,
        error,
      })
      return NOTHING
    }
  }

  async #changed(): Promise<void> {
    const { hooks, log } = this.#context
    try {
      await hooks.at('disco_changed').run({}, {})
    } catch (error) {
      log.error('hook_failed', { hook: 'disco_changed', error })
    }
  }

  #add<K extends keyof DiscoInfo>(
    all: DiscoInfo[K],
    node: string,
    side: 'server' | 'account',
    kind: K,
  ): DiscoInfo[K] {
    if (node !== '' || this.#nested.size === 0) return all
    const nested = [...this.#nested.values()].flatMap((one) => [...one[side][kind]])
    return [...new Set([...all, ...nested])] as unknown as DiscoInfo[K]
  }

  #foreign(features: readonly string[], node: string): readonly string[] {
    return node === '' ? features.filter((feature) => !this.#isDelegated(feature)) : features
  }

  #isDelegated(name: string | undefined): boolean {
    return this.#delegations.namespaces.some(
      (namespace) => name === namespace || name?.startsWith(`${namespace}#`),
    )
  }
}

function infoIn(query: Element | undefined): DiscoInfo {
  if (query === undefined || query.ns !== DISCO_INFO_NS) return NOTHING
  return {
    identities: query.elements('identity').map((identity) => {
      const name = identity.attr('name')
      const category = identity.attr('category') ?? ''
      return { category, type: identity.attr('type') ?? '', ...(name !== undefined && { name }) }
    }),
    features: query.elements('feature').map((feature) => feature.attr('var') ?? ''),
    forms: query.elements('x', FORM_NS),
  }
}

function typeOf(form: Element): string | undefined {
  const field = form.elements('field').find((candidate) => candidate.attr('var') === 'FORM_TYPE')
  return field?.child('value')?.text
}
