import { z } from 'zod'
import { domain } from '../core/config-types.ts'
import {
  DISCO_INFO_NS,
  DISCO_ITEMS_NS,
  type DiscoItem,
  type DiscoQuery,
  discoverInfo,
  discoverItems,
  infoElement,
  itemsElement,
} from '../core/disco.ts'
import type { IqRequest } from '../core/iq.ts'
import { defineModule } from '../core/module.ts'
import { maySeePresence } from '../core/presence-access.ts'
import { SOFTWARE } from '../core/software.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'

/**
 * Service discovery of the server and, on their behalf, of its accounts. What there is to tell
 * comes from the modules, by their definitions and the disco hooks.
 */
export const disco = defineModule({
  name: 'disco',
  implements: ['XEP-0030 2.5.0', 'XEP-0128 1.0.1'],
  features: [DISCO_INFO_NS, DISCO_ITEMS_NS],
  accountFeatures: [DISCO_INFO_NS, DISCO_ITEMS_NS],
  config: z.strictObject({
    extra_domains: z
      .array(domain())
      .default([])
      .describe('Services elsewhere that users of this server are told about.'),
  }),

  start({ config, hooks, iq, routes, sessions, lasting }) {
    const domainTypeOf = ({ to }: IqRequest) => routes.find(to.domain)?.domainType
    const queryOf = ({ from, to, payload, session }: IqRequest): DiscoQuery => ({
      from,
      target: to,
      session,
      node: payload.attr('node') ?? '',
    })

    const isStranger = async (request: IqRequest) => {
      const { from, to } = request
      return !(await maySeePresence(hooks, domainTypeOf(request), to.toBare(), from))
    }

    const info = async (request: IqRequest) => {
      const query = queryOf(request)
      const found = await discoverInfo(hooks, domainTypeOf(request), query)
      // Every entity and node has an identity or a feature (§3.1).
      const isKnown = found.identities.length > 0 || found.features.length > 0
      if (!isKnown) throw new StanzaError('item-not-found')
      return infoElement(found, query.node)
    }

    const items = async (request: IqRequest) => {
      const query = queryOf(request)
      const found = await discoverItems(hooks, domainTypeOf(request), query)
      if (found.length === 0 && query.node !== '') await info(request)
      return itemsElement(found, query.node)
    }

    iq.on('server', 'get', DISCO_INFO_NS, 'query', info)
    iq.on('server', 'get', DISCO_ITEMS_NS, 'query', items)
    // XEP-0030 §8: to strangers an account looks like one that does not exist.
    const nothing = ({ payload }: IqRequest) => itemsElement([], payload.attr('node') ?? '')
    iq.on('account', 'get', DISCO_INFO_NS, 'query', async (request) => {
      if (await isStranger(request)) throw new StanzaError('service-unavailable')
      return info(request)
    })
    iq.on('account', 'get', DISCO_ITEMS_NS, 'query', async (request) =>
      (await isStranger(request)) ? nothing(request) : items(request),
    )
    iq.on('nobody', 'get', DISCO_ITEMS_NS, 'query', nothing)

    // First, so that they are the primary identities.
    const first = { order: 1 }
    hooks.on(
      'disco_local_identity',
      (all, { node }) =>
        node === '' ? [...all, { category: 'server', type: 'im', name: SOFTWARE.name }] : all,
      first,
    )
    hooks.on(
      'disco_sm_identity',
      (all, { node }) =>
        node === '' ? [...all, { category: 'account', type: 'registered' }] : all,
      first,
    )

    /** Components and services, as they come and go; those marked hidden are not told. */
    const { subhosts, hidden } = lasting(() => ({
      subhosts: new Set<string>(),
      hidden: new Set<string>(),
    }))
    hooks.on('register_subhost', (name, { isHidden }) => {
      ;(isHidden ? hidden : subhosts).add(name)
      return name
    })
    hooks.on('unregister_subhost', (name) => {
      subhosts.delete(name)
      hidden.delete(name)
      return name
    })
    hooks.on('disco_local_items', (all, { target, node }) => {
      if (node !== '') return all
      const services = new Set([...routes.services, ...subhosts])
      const own = [...services].filter(
        (name) => !hidden.has(name) && belongsTo(target.domain, name, routes.hosted),
      )
      return [...all, ...itemsOf([...own, ...config.extra_domains])]
    })
    hooks.on('disco_sm_items', (all, { target, node }) => {
      if (node !== '') return all
      const resources = sessions.sessions.available(target.bare)
      return [...all, ...itemsOf(resources.map(({ jid }) => jid.full))]
    })
  },
})

function itemsOf(addresses: readonly string[]): DiscoItem[] {
  return addresses.map((jid) => ({ jid }))
}

/** A service belongs to the hosted domain above it; one that is below none belongs to all. */
function belongsTo(target: string, service: string, hosted: readonly string[]): boolean {
  const owners = hosted.filter((candidate) => service.endsWith(`.${candidate}`))
  if (owners.length === 0) return true
  const nearest = owners.reduce((a, b) => (b.length > a.length ? b : a))
  return nearest === target
}
