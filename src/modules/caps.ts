import { z } from 'zod'
import { type DiscoInfo, type DiscoQuery, discoverInfo } from '../core/disco.ts'
import { resultOf } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import { CAPS_NS, verificationString } from '../xmpp/caps.ts'
import { parseJid } from '../xmpp/jid.ts'
import { el } from '../xmpp/xml.ts'

const DISCOVERED = ['disco_local_identity', 'disco_local_features', 'disco_info'] as const

/**
 * The server's own capabilities in its stream features: clients that have seen them before need
 * not ask.
 */
export const caps = defineModule({
  name: 'caps',
  implements: ['XEP-0115 1.6.0'],
  features: [CAPS_NS],
  config: z.strictObject({
    node: z
      .string()
      .min(1)
      .default('urn:x-meerkat:server')
      .describe('URI that stands for this software in its capabilities.'),
  }),

  start({ config, hooks, routes }) {
    type Known = { readonly handlers: readonly unknown[]; readonly ver: string }
    const known = new Map<string, Known>()
    const domainTypeOf = (domain: string) => routes.find(domain)?.domainType

    /** What the server tells about itself changes only when handlers come and go. */
    const handlersOf = (domain: string) =>
      DISCOVERED.map((hook) => hooks.at(hook, domainTypeOf(domain)).entries)

    const ask = (domain: string): Promise<DiscoInfo> => {
      const server = parseJid(domain)
      return discoverInfo(hooks, domainTypeOf(domain), { from: server, target: server, node: '' })
    }

    const verOf = async (domain: string): Promise<string> => {
      const handlers = handlersOf(domain)
      const last = known.get(domain)
      if (last?.handlers.every((entries, index) => entries === handlers[index])) return last.ver
      const ver = verificationString(await ask(domain))
      known.set(domain, { handlers, ver })
      return ver
    }

    hooks.on('disco_changed', (nothing) => {
      known.clear()
      return nothing
    })

    const isOwnNode = async ({ target, node }: DiscoQuery) =>
      target.isDomain &&
      node.startsWith(`${config.node}#`) &&
      node === `${config.node}#${await verOf(target.domain)}`

    hooks.on('c2s_stream_features', async (features, { domain }) => {
      const ver = await verOf(domain)
      return [...features, el('c', { xmlns: CAPS_NS, hash: 'sha-1', node: config.node, ver })]
    })

    // A query for the node of a verification string is one for the whole (§6.2).
    for (const hook of DISCOVERED) {
      hooks.on(hook, async (all, query) => {
        if (!(await isOwnNode(query))) return all
        const point = hooks.at(hook, domainTypeOf(query.target.domain))
        return resultOf(await point.run([], { ...query, node: '' }), []) as typeof all
      })
    }
  },
})
