import { z } from 'zod'
import { size } from '../../core/config-types.ts'
import { stop } from '../../core/hooks.ts'
import type { IqRequest } from '../../core/iq.ts'
import { defineModule } from '../../core/module.ts'
import { partFrom, taken } from '../../core/user-data.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { migrations, type PrivateEntry, PrivateStore } from './store.ts'

const NS = 'jabber:iq:private'
/** What an operator brings from elsewhere. */
const UNLIMITED = { maxBytes: Number.POSITIVE_INFINITY, maxEntries: Number.POSITIVE_INFINITY }

/** Keeps XML for an account's own clients: bookmarks, preferences (XEP-0049). */
export const privateStorage = defineModule({
  name: 'private',
  implements: ['XEP-0049 1.2'],
  features: [NS],
  accountFeatures: [NS],
  config: z.strictObject({
    max_size: size({ min: '1KiB', max: '64MiB' })
      .prefault('1MiB')
      .describe('What one account may keep altogether.'),
    max_entries: z
      .int()
      .min(1)
      .default(200)
      .describe('Different elements (by name and namespace) that one account may keep.'),
  }),
  migrations,
  data: [{ table: 'private_xml', owner: 'account' }],

  start({ config, hooks, iq, storage }) {
    const store = new PrivateStore(storage)
    const limits = { maxBytes: config.max_size, maxEntries: config.max_entries }

    iq.on('account', 'get', NS, 'query', async (request) => {
      refuseOthers(request)
      const [asked, ...others] = request.payload.elements()
      if (asked === undefined || others.length > 0) throw new StanzaError('bad-request')
      if (asked.ns === NS) throw new StanzaError('not-acceptable')
      const kept = await store.get(request.to.toBare(), asked.ns, asked.name)
      // Nothing kept yet is an empty element (§2.4).
      return el('query', { xmlns: NS }, ...(kept.length > 0 ? kept : [emptied(asked)]))
    })

    iq.on('account', 'set', NS, 'query', async (request) => {
      refuseOthers(request)
      const isKept = await store.put(request.to.toBare(), entriesOf(request.payload), limits)
      if (!isKept) throw new StanzaError('resource-constraint', { text: 'The storage is full' })
      return undefined
    })

    hooks.on('export_user_data', (parts, { account }) => [
      ...parts,
      partFrom(async () => {
        const kept = await store.all(account)
        return kept.length === 0 ? [] : [el('query', { xmlns: NS }, ...kept)]
      }),
    ])
    hooks.on('import_user_data', async (nobody, { account, portion: { part } }) => {
      if (part.name !== 'query' || part.ns !== NS) return nobody
      if (part.elements().length === 0) return stop(taken({}))
      const [entries, there] = [entriesOf(part), await store.all(account)]
      const missing = entries.filter(
        ({ name, namespace }) => !there.some((each) => each.name === name && each.ns === namespace),
      )
      await store.put(account, missing, UNLIMITED)
      const added = missing.length
      return stop(taken({ added, there: entries.length - added }))
    })
    hooks.on(
      'remove_user',
      async (account) => {
        await store.remove(account)
        return account
      },
      { onError: 'skip' },
    )
  },
})

function refuseOthers({ from, to }: IqRequest): void {
  if (!from.bareEquals(to)) throw new StanzaError('forbidden')
}

function emptied(element: Element): Element {
  return el(element.name, { xmlns: element.ns })
}

/** By name and namespace; there may be several of one kind (§2.3). */
function entriesOf(query: Element): PrivateEntry[] {
  const entries = new Map<string, PrivateEntry>()
  for (const element of query.elements()) {
    const { name, ns: namespace } = element
    if (namespace === NS) throw new StanzaError('not-acceptable')
    const key = `${name} ${namespace}`
    const elements = [...(entries.get(key)?.elements ?? []), element]
    entries.set(key, { namespace, name, elements })
  }
  if (entries.size === 0) throw new StanzaError('not-acceptable')
  return [...entries.values()]
}
