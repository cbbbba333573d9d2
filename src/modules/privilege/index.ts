import { z } from 'zod'
import { domain } from '../../core/config-types.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { stop } from '../../core/hooks.ts'
import type { IqRequest } from '../../core/iq.ts'
import { after, type Maybe, settled } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import { answered } from '../../core/outcome.ts'
import { type Jid, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { el } from '../../xmpp/xml.ts'
import { askOnBehalf, forwardedMessage } from './on-behalf.ts'
import {
  advertisement,
  allows,
  type Permissions,
  PRIVILEGE_NS,
  permissions,
} from './permissions.ts'
import { showPresence } from './presences.ts'

const ROSTER_NS = 'jabber:iq:roster'

/**
 * Components that may do what else only the server and its accounts can: read and change rosters,
 * send in their names, see who is available (XEP-0356). What each may do is configured; it is not
 * for anybody but the connected component itself.
 */
export const privilege = defineModule({
  name: 'privilege',
  implements: ['XEP-0356 0.4.1'],
  config: z.strictObject({
    components: z
      .record(domain(), permissions)
      .default({})
      .describe('What components may do with the accounts of this server, by their domains.'),
  }),

  start(context) {
    const { config, hooks, iq, router, routes } = context
    const granted = new Map(Object.entries(config.components))
    if (granted.size === 0) return
    const permissionsOf = ({ origin }: Envelope): Permissions | undefined =>
      origin.kind === 'component' ? granted.get(origin.domain) : undefined
    let lastId = 0
    const newId = () => `privilege-${(++lastId).toString(36)}`

    /** Of those with permissions the ones that are connected, with their addresses. */
    const connected = new Map<string, Jid>()
    const send = (component: string, from: Jid, stanza: Stanza) => {
      const to = connected.get(component)
      if (to !== undefined) void router.route(new Envelope(from, to, stanza, SERVER))
    }
    const tellWhoIsThere = showPresence(context, granted, send)
    hooks.on('component_connected', (component) => {
      const told: Maybe<unknown>[] = []
      for (const name of component.domains) {
        const given = granted.get(name)
        if (given === undefined) continue
        const to = parseJid(name)
        connected.set(name, to)
        for (const hosted of routes.hosted) {
          const stanza = Stanza.build('message', { id: newId() }, advertisement(given))
          told.push(component.handle(new Envelope(parseJid(hosted), to, stanza, SERVER)))
        }
        tellWhoIsThere(name)
      }
      return after(settled(told), () => component)
    })
    hooks.on('unregister_subhost', (name) => {
      connected.delete(name)
      return name
    })

    // Rosters (§4).
    iq.intercept((target, request, next) => {
      const { payload, envelope, from, to, type } = request
      const isOthers = target === 'account' && payload.ns === ROSTER_NS && !from.bareEquals(to)
      const given = isOthers ? permissionsOf(envelope) : undefined
      if (given === undefined) return next()
      if (!allows(given.roster, type)) throw new StanzaError('forbidden')
      return iq.ask(target, { ...request, from: to.toBare(), session: undefined })
    })
    hooks.on('roster_item_changed', (item, { owner }) => {
      for (const [name, { push }] of granted) {
        if (!push) continue
        const query = el('query', { xmlns: ROSTER_NS }, item)
        send(name, owner, Stanza.build('iq', { type: 'set', id: newId() }, query))
      }
      return item
    })

    // Messages (§5).
    hooks.on('message_to_domain', (outcome, { envelope }) => {
      const { stanza, to, origin } = envelope
      const wrapped = stanza.isError ? undefined : stanza.child('privilege', PRIVILEGE_NS)
      if (wrapped === undefined) return outcome
      if (permissionsOf(envelope)?.message !== 'outgoing') throw new StanzaError('forbidden')
      const message = forwardedMessage(wrapped, to.domain)
      const sent = new Envelope(message.from, message.to, message.stanza, origin)
      return after(router.route(sent), () => stop(answered('privilege')))
    })

    // Requests (§6).
    const onBehalf = (request: IqRequest) => {
      const given = permissionsOf(request.envelope)
      if (given === undefined) throw new StanzaError('forbidden')
      return askOnBehalf(request, given, iq.request)
    }
    const refuse = () => {
      throw new StanzaError('forbidden')
    }
    for (const type of ['get', 'set'] as const) {
      iq.on('account', type, PRIVILEGE_NS, 'privileged_iq', onBehalf)
      iq.on('nobody', type, PRIVILEGE_NS, 'privileged_iq', refuse)
      iq.on('server', type, PRIVILEGE_NS, 'privileged_iq', refuse)
    }
    hooks.on(
      'filter_local_packet',
      (envelope) => {
        const { stanza, to } = envelope
        const isForResource = to.resource !== '' && stanza.kind === 'iq' && stanza.isRequest
        if (isForResource && stanza.has('privileged_iq', PRIVILEGE_NS)) refuse()
        return envelope
      },
      { order: 5, explain: 'pure' },
    )
  },
})
