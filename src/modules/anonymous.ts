import { z } from 'zod'
import { defineModule } from '../core/module.ts'

/**
 * An anonymous user's address is gone with the session (XEP-0175), and so is what modules have kept
 * for it: nobody could ask for it any more.
 */
export const anonymous = defineModule({
  name: 'anonymous',
  implements: ['XEP-0175 1.2'],
  config: z.strictObject({}),

  start({ hooks, routes, sessions }) {
    hooks.on(
      'sm_remove_connection',
      async (resource) => {
        const { info, jid } = resource
        if (!info.isAnonymous || sessions.sessions.of(jid.bare).length > 0) return resource
        const domainType = routes.find(jid.domain)?.domainType
        await hooks.at('remove_user', domainType).run(jid.toBare(), {})
        return resource
      },
      // When the others have done what they do for every session.
      { order: 95, onError: 'skip' },
    )
  },
})
