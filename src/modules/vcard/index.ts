import { z } from 'zod'
import { size } from '../../core/config-types.ts'
import { stop } from '../../core/hooks.ts'
import { defineModule } from '../../core/module.ts'
import { partFrom, taken } from '../../core/user-data.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { el, serialise } from '../../xmpp/xml.ts'
import { migrations, VcardStore } from './store.ts'

const NS = 'vcard-temp'

const line = (what: string) => z.string().min(1).optional().describe(what)

/** Keeps accounts' vCards for everybody to see, and shows one of the server (XEP-0054). */
export const vcard = defineModule({
  name: 'vcard',
  implements: ['XEP-0054 1.3.0'],
  features: [NS],
  accountFeatures: [NS],
  config: z.strictObject({
    max_size: size({ min: '1KiB', max: '64MiB' })
      .prefault('256KiB')
      .describe('A larger vCard is refused. Photos are part of it.'),
    service: z
      .strictObject({
        name: line('Name of the service.').default('Meerkat'),
        description: line('What it is.'),
        url: line('Where to read more.'),
        organization: line('Who runs it.'),
        email: line('How to reach them.'),
      })
      .prefault({})
      .describe("The server's own vCard."),
  }),
  migrations,
  data: [{ table: 'vcard', owner: 'account' }],

  start({ config, hooks, iq, storage }) {
    const store = new VcardStore(storage)
    const { name, description, url, organization, email } = config.service
    const ofService = el(
      'vCard',
      { xmlns: NS },
      el('FN', {}, name),
      organization !== undefined && el('ORG', {}, el('ORGNAME', {}, organization)),
      url !== undefined && el('URL', {}, url),
      email !== undefined && el('EMAIL', {}, el('INTERNET'), el('USERID', {}, email)),
      description !== undefined && el('DESC', {}, description),
    )
    iq.on('server', 'get', NS, 'vCard', () => ofService)

    iq.on('account', 'get', NS, 'vCard', async ({ from, to }) => {
      const kept = await store.get(to.toBare())
      if (kept !== undefined) return kept
      // To others, an account without vCard is like none (§3.3).
      throw new StanzaError(from.bareEquals(to) ? 'item-not-found' : 'service-unavailable')
    })

    iq.on('account', 'set', NS, 'vCard', async ({ from, to, payload }) => {
      if (!from.bareEquals(to)) throw new StanzaError('forbidden')
      const octets = serialise(payload)
      if (octets.length > config.max_size) {
        const text = `A vCard has at most ${config.max_size} bytes`
        throw new StanzaError('policy-violation', { text })
      }
      await store.put(to.toBare(), octets)
      return undefined
    })

    hooks.on('export_user_data', (parts, { account }) => [
      ...parts,
      partFrom(async () => {
        const kept = await store.get(account)
        return kept === undefined ? [] : [kept]
      }),
    ])
    hooks.on('import_user_data', async (nobody, { account, portion: { part } }) => {
      if (part.name !== 'vCard' || part.ns !== NS) return nobody
      if ((await store.get(account)) !== undefined) return stop(taken({ there: 1 }))
      await store.put(account, serialise(part))
      return stop(taken({ added: 1 }))
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
