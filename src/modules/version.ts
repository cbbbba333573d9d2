import { release, type } from 'node:os'
import { z } from 'zod'
import { defineModule } from '../core/module.ts'
import { SOFTWARE } from '../core/software.ts'
import { el } from '../xmpp/xml.ts'

const NS = 'jabber:iq:version'

/** Says which software this is (XEP-0092). */
export const version = defineModule({
  name: 'version',
  implements: ['XEP-0092 1.1'],
  features: [NS],
  config: z.strictObject({
    show_os: z
      .boolean()
      .default(false)
      .describe('Tells the operating system, too. That helps attackers more than anybody else.'),
  }),

  start({ config, iq }) {
    const answer = el(
      'query',
      { xmlns: NS },
      el('name', {}, SOFTWARE.name),
      el('version', {}, SOFTWARE.version),
      config.show_os && el('os', {}, `${type()} ${release()}`),
    )
    iq.on('server', 'get', NS, 'query', () => answer)
  },
})
