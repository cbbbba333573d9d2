/**
 * A server inside of this process, and one message through it: `node examples/embed.ts`.
 *
 * In a project of your own, import from 'meerkat'.
 */
import { connect } from 'node:net'
import { createServer, defineModule } from '../src/index.ts'

const fates = defineModule({
  name: 'fates',
  start({ hooks }) {
    hooks.on('message_routed', (outcome, { envelope }) => {
      if (envelope.stanza.kind === 'message') console.log(`${envelope.to}: ${outcome.fate}`)
      return outcome
    })
  },
})

await using server = await createServer({
  listen: { tls: 'none', allow_plain_without_tls: true },
  use: [fates],
})
await server.accounts.register('juliet@localhost', 'Capulet')
await server.start()

// Any XMPP client will do; here is the least that can be called one.
const [address] = server.listeners
if (address === undefined) throw new Error('the server does not listen')
const socket = connect(address.port, address.host)
socket.setEncoding('utf8')

const header =
  "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
const password = Buffer.from('\0juliet\0Capulet').toString('base64')
socket.write(
  `${header}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${password}</auth>`,
)

let received = ''
const has = (text: string) => {
  if (!received.includes(text)) return false
  received = ''
  return true
}
for await (const chunk of socket) {
  received += chunk
  if (has('<success')) {
    const bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    socket.write(`${header}<iq type='set' id='bind'>${bind}</iq>`)
  } else if (has("id='bind'")) {
    socket.write("<presence/><message to='juliet@localhost'><body>Ay me!</body></message>")
  } else if (has('Ay me!')) {
    console.log('juliet: Ay me!')
    socket.write('</stream:stream>')
  }
}
