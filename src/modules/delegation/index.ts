import { z } from 'zod'
import { duration } from '../../core/config-types.ts'
import {
  announceFeatures,
  DISCO_INFO_NS,
  DISCO_ITEMS_NS,
  type DiscoQuery,
  discoverInfo,
  discoverItems,
} from '../../core/disco.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import type { IqRequest } from '../../core/iq.ts'
import { after, type Maybe, settled } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import { maySeePresence } from '../../core/presence-access.ts'
import { type Jid, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import {
  ALL_INFO,
  ALL_ITEMS,
  advertisement,
  DELEGATION_NS,
  type Delegation,
  Delegations,
  delegation as delegationSchema,
  isFrom,
} from './delegations.ts'
import { forward } from './forwarding.ts'
import { NestedDisco } from './nested-disco.ts'

/**
 * Components that answer for the server and its accounts: requests of certain namespaces go to them
 * (XEP-0355 in the administrator's mode). Clients see no difference.
 */
export const delegation = defineModule({
  name: 'delegation',
  implements: ['XEP-0355 0.5'],
  config: z.strictObject({
    namespaces: z
      .array(delegationSchema)
      .default([])
      .describe('Requests that components answer, a `[[modules.delegation.namespaces]]` for each.'),
    timeout: duration({ min: '1s', max: '5m' })
      .prefault('30s')
      .describe('How long a component may take for an answer.'),
  }),

  start({ config, hooks, iq, log, routes }) {
    const delegations = new Delegations(config.namespaces)
    if (delegations.all.length === 0) return
    const connected = new Map<string, Jid>()
    const nested = new NestedDisco({ hooks, iq, log }, delegations)
    let lastId = 0

    announceFeatures(hooks.on, { features: [DELEGATION_NS] })
    hooks.on('component_connected', (component) => {
      const told: Maybe<unknown>[] = []
      for (const name of component.domains) {
        const own = delegations.to(name)
        if (own.length === 0) continue
        const to = parseJid(name)
        connected.set(name, to)
        const hosted = routes.hosted.map(parseJid)
        for (const from of hosted) {
          const id = `delegation-${(++lastId).toString(36)}`
          const stanza = Stanza.build('message', { id }, advertisement(own))
          told.push(component.handle(new Envelope(from, to, stanza, SERVER)))
        }
        // Nobody waits for what it tells: it may take its time, or not know how.
        const isThere = () => connected.get(name) === to
        if (hosted[0] !== undefined) void nested.ask(hosted[0], to, isThere)
      }
      return after(settled(told), () => component)
    })
    hooks.on('unregister_subhost', (name) => {
      if (!connected.delete(name)) return name
      return nested.forget(name).then(() => name)
    })

    const delegate = (request: IqRequest, { component }: Delegation) => {
      const to = connected.get(component)
      if (to === undefined) throw new StanzaError('service-unavailable')
      return forward(request, to, iq.request, config.timeout)
    }

    iq.intercept((target, request, next) => {
      if (target === 'nobody') return next()
      const found = delegations.of(request.payload)
      if (found !== undefined)
        return isFrom(request.envelope, found) ? next() : delegate(request, found)
      const special = target === 'account' ? specialOf(request) : undefined
      if (special === undefined || isFrom(request.envelope, special)) return next()
      return isUnanswered(request).then((isTheirs) =>
        isTheirs ? delegate(request, special) : next(),
      )
    })

    /** §7.2.4, §7.2.5: discovery of accounts. */
    const specialOf = ({ payload }: IqRequest): Delegation | undefined => {
      if (payload.ns === DISCO_ITEMS_NS) return delegations.named(ALL_ITEMS)
      const hasNode = (payload.attr('node') ?? '') !== ''
      return payload.ns === DISCO_INFO_NS && hasNode ? delegations.named(ALL_INFO) : undefined
    }

    /** Whether the asker may know, and the server itself has nothing to say. */
    const isUnanswered = async ({ from, to, payload }: IqRequest): Promise<boolean> => {
      const domainType = routes.find(to.domain)?.domainType
      if (!(await maySeePresence(hooks, domainType, to.toBare(), from))) return false
      const query: DiscoQuery = { from, target: to, node: payload.attr('node') ?? '' }
      if (query.node === '') return true
      const { identities, features } = await discoverInfo(hooks, domainType, query)
      if (identities.length + features.length > 0) return false
      return (await discoverItems(hooks, domainType, query)).length === 0
    }
  },
})
