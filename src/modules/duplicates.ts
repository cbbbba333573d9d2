import { z } from 'zod'
import { idOf } from '../core/envelope.ts'
import { DROP } from '../core/hooks.ts'
import { defineModule } from '../core/module.ts'
import type { Session } from '../core/session.ts'
import { owned } from '../xmpp/octets.ts'

/** How many copies of one client are remembered, */
const REMEMBERED = 100
/** and while it may still get what waits for its account. */
const REMEMBERED_BEFORE = 1_000

/**
 * What a client has acknowledged as a copy, by carbon (XEP-0280) or from its archive (XEP-0313), it is
 * not given once more: neither when the message comes back from a resource that was lost, nor from the
 * offline store, which the message leaves by that.
 *
 * A copy that the client has not acknowledged counts for nothing, so no message is lost by this.
 */
export const duplicates = defineModule({
  name: 'duplicates',
  implements: [],
  config: z.strictObject({}),

  start({ hooks, lasting }) {
    const bySession = lasting(() => new WeakMap<Session, Set<string>>())

    const remember = (session: Session, id: string) => {
      let seen = bySession.get(session)
      if (seen === undefined) {
        seen = new Set()
        bySession.set(session, seen)
      }
      seen.add(owned(id))
      const limit = (session.priority ?? -1) < 0 ? REMEMBERED_BEFORE : REMEMBERED
      for (const oldest of seen) {
        if (seen.size <= limit) break
        seen.delete(oldest)
      }
    }

    hooks.on('stanza_acknowledged', (envelope, { session }) => {
      const { copyOf } = envelope.notes
      if (copyOf !== undefined) remember(session, copyOf)
      return envelope
    })
    hooks.on(
      'user_receive_message',
      (envelope, { session }) => {
        const { notes } = envelope
        if (notes.isRetry !== true && notes.offline === undefined) return envelope
        const id = idOf(notes)
        return id !== undefined && bySession.get(session)?.has(id) === true ? DROP : envelope
      },
      // Rather a message too many than one too few.
      { onError: 'skip', explain: 'pure' },
    )
  },
})
