import { z } from 'zod'
import { CommandError } from '../../core/command.ts'
import { defineModule } from '../../core/module.ts'
import { type Jid, parseJid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { AccessLists } from './access-lists.ts'
import { accessCommands, listCommands } from './admin-commands.ts'
import { AccessListStore, LISTS, migrations } from './store.ts'

declare module '../../core/cluster.ts' {
  interface Topics {
    /** What is stored of the lists is another. */
    access_lists: { readonly question: null; readonly answer: null }
  }
}

/** Before all other handlers: what is refused is nobody's business. */
const FIRST = { order: 5, explain: 'pure' } as const

/**
 * With whom elsewhere people here communicate (XEP-0133 §4.11, §4.12): administrators name addresses
 * with which nobody does, or those with which alone they do, in both directions. Accounts of our own
 * domains are never meant: they can be disabled.
 */
export const accessLists = defineModule({
  name: 'access_lists',
  implements: [],
  config: z.strictObject({
    max_addresses: z
      .int()
      .min(1)
      .default(10_000)
      .describe('Addresses that each of the two lists may name.'),
  }),
  migrations,
  commands: accessCommands,

  async start(context) {
    const { cluster, commands, config, hooks, lasting, onStop, routes, serves, storage } = context
    const store = new AccessListStore(storage)
    const { lists, services, enforcers } = lasting(() => ({
      lists: new AccessLists(store),
      /** Of each instance. */
      enforcers: new Set<() => void>(),
      /** Domains of components, of all nodes. */
      services: new Set<string>(),
    }))

    const isRefused = (peer: Jid, own: Jid): boolean => {
      if (routes.isHosted(peer.domain) || !serves(own.domain)) return false
      const isOwnService = services.has(peer.domain) || routes.serves(peer.domain)
      return !lists.allows(peer, isOwnService)
    }
    hooks.on('register_subhost', (domain) => {
      services.add(domain)
      return domain
    })
    hooks.on('unregister_subhost', (domain) => {
      services.delete(domain)
      return domain
    })
    let isEnforced = false
    /** From the first address on: before that, no stanza pays for it. */
    const enforce = () => {
      if (isEnforced || lists.isEmpty) return
      isEnforced = true
      hooks.on(
        'filter_packet',
        (envelope) => {
          if (lists.isEmpty) return envelope
          const { from, to, stanza, origin } = envelope
          // What this server itself says of a stanza is not from whom it names.
          if (stanza.isError && origin.kind === 'server') return envelope
          if (!isRefused(from, to) && !isRefused(to, from)) return envelope
          throw new StanzaError('not-allowed', {
            text: 'communication with this address is not allowed',
          })
        },
        FIRST,
      )
      hooks.on(
        's2s_allow_host',
        (verdict, { domain, remote }) =>
          lists.isEmpty || !serves(domain) || lists.allowsServer(remote) ? verdict : 'deny',
        FIRST,
      )
    }
    enforcers.add(enforce)
    onStop(() => void enforcers.delete(enforce))
    const load = async () => {
      await lists.load()
      for (const each of enforcers) each()
    }
    await load()
    cluster.on('access_lists', async () => {
      await load()
      return null
    })

    const changed = async () => {
      await load()
      await cluster.tell('access_lists', null)
    }
    for (const list of LISTS) {
      const { show, add, remove } = listCommands[list]
      commands.on(show, () => ({ addresses: [...lists.of(list)] }))
      commands.on(add, async ({ address }) => {
        if (routes.isHosted(parseJid(address).domain)) {
          throw new CommandError(
            'invalid',
            `address: ${address} is of this server; disable accounts`,
          )
        }
        if (lists.of(list).length >= config.max_addresses) {
          throw new CommandError(
            'conflict',
            `the ${list} has ${config.max_addresses} addresses already`,
          )
        }
        await store.add(list, address)
        await changed()
        return { address }
      })
      commands.on(remove, async ({ address }) => {
        if (!(await store.remove(list, address))) {
          throw new CommandError('not-found', `${address} is not on the ${list}`)
        }
        await changed()
        return { address }
      })
    }
  },
})
