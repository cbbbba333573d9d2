/**
 * A module of your own: it answers a question, and lets nobody shout. `own-module.toml` loads it.
 *
 * In a project of your own, import from 'meerkat'.
 */
import { z } from 'zod'
import { defineModule, el, StanzaError } from '../src/index.ts'

const NS = 'urn:example:quiet'

export default defineModule({
  name: 'quiet',
  features: [NS],
  config: z.strictObject({
    exclamation_marks: z.int().min(0).default(3).describe('As many as one message may have.'),
  }),

  start({ config, hooks, iq }) {
    iq.on('server', 'get', NS, 'limit', () =>
      el('limit', { xmlns: NS }, String(config.exclamation_marks)),
    )

    hooks.on('user_send_message', (envelope) => {
      const body = envelope.stanza.child('body')?.text ?? ''
      if (body.split('!').length - 1 <= config.exclamation_marks) return envelope
      throw new StanzaError('policy-violation', { text: 'Not so loud, please.' })
    })
  },
})
