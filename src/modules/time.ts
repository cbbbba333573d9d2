import { z } from 'zod'
import { defineModule } from '../core/module.ts'
import { formatDateTime } from '../xmpp/datetime.ts'
import { el } from '../xmpp/xml.ts'

const NS = 'urn:xmpp:time'

/**
 * Says what time it is (XEP-0202). The server lives in UTC, wherever its machine stands; the offset
 * is to be numeric (§2), which "Z" is not.
 */
export const time = defineModule({
  name: 'time',
  implements: ['XEP-0202 2.0'],
  features: [NS],
  config: z.strictObject({}),

  start({ iq, clock }) {
    iq.on('server', 'get', NS, 'time', () =>
      el(
        'time',
        { xmlns: NS },
        el('tzo', {}, '+00:00'),
        el('utc', {}, formatDateTime(clock.now())),
      ),
    )
  },
})
