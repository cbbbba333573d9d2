import { z } from 'zod'
import { defineModule } from '../core/module.ts'
import { form } from '../xmpp/data-form.ts'

const FORM_TYPE = 'http://jabber.org/network/serverinfo'

const addresses = (whom: string) =>
  z
    .array(z.string().regex(/^[a-z][a-z0-9+.-]*:./i, 'a URI such as "mailto:abuse@example.com"'))
    .default([])
    .describe(`URIs for ${whom}.`)

/** Tells in service discovery whom to turn to (XEP-0157). */
export const contactAddresses = defineModule({
  name: 'contact_addresses',
  implements: ['XEP-0157 1.1.1'],
  config: z.strictObject({
    abuse: addresses('reports of abuse'),
    admin: addresses('the administrators'),
    feedback: addresses('feedback'),
    sales: addresses('sales'),
    security: addresses('security concerns'),
    status: addresses('the state of the service'),
    support: addresses('help'),
  }),

  start({ config, hooks }) {
    const fields = Object.entries(config)
      .filter(([, uris]) => uris.length > 0)
      .map(([role, uris]) => ({
        var: `${role}-addresses`,
        type: 'list-multi' as const,
        value: uris,
      }))
    if (fields.length === 0) return
    const serverInfo = form({ type: 'result', formType: FORM_TYPE, fields })
    hooks.on('disco_info', (forms, { target, node }) =>
      target.isDomain && node === '' ? [...forms, serverInfo] : forms,
    )
  },
})
