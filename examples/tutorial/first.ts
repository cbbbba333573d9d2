import { defineModule, StanzaError } from '../../src/index.ts'

export default defineModule({
  name: 'first',

  start({ hooks }) {
    hooks.on('user_send_message', (envelope) => {
      if (envelope.to.local === '') return envelope
      throw new StanzaError('policy-violation', { text: 'Please accept the terms of use first.' })
    })
  },
})
