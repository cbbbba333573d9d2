import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { acceptConnections } from '../../test/support/connections.ts'
import type { Octets } from '../xmpp/octets.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import { makeSelfSigned } from './self-signed.ts'
import { TlsCertificates } from './tls.ts'

const LAST = '<proceed/>' as Octets
const HEADER = "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>"

/** The other side of each connection has said its last word and waits for TLS. */
async function listen(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'meerkat-hello-'))
  t.after(() => rm(directory, { recursive: true }))
  const file = join(directory, 'both.pem')
  await writeFile(file, makeSelfSigned(Date.now(), 'localhost'))
  const certificates = await TlsCertificates.load([{ certificate: file, key: file }])
  const accepted = await acceptConnections(
    t,
    (given) => {
      const side = { ...given, got: [] as string[] }
      const onElement = (frame: Frame) => void side.got.push(frame.name)
      const onStreamError = () => side.connection.end('<error/>' as Octets)
      return { side, handler: { onElement, onStreamError } }
    },
    (connection) =>
      connection.secureOnHello(LAST, (plain) => certificates.secure(plain, { isDirect: false })),
  )
  return { ...accepted, certificates }
}

async function greeted(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  const [first] = (await once(socket, 'data')) as [Buffer]
  assert.equal(first.toString(), LAST)
  return socket
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await setTimeout(5)
}

test('TLS begins with the client, whatever was written before comes after the handshake', async (t) => {
  const { port, sides } = await listen(t)
  const socket = await greeted(t, port)
  sides[0]?.connection.write('<early/>' as Octets)
  await setTimeout(50)
  assert.equal(socket.bytesRead, LAST.length)
  const secured = connectTls({ socket, rejectUnauthorized: false })
  await once(secured, 'secureConnect')
  secured.write(`${HEADER}<a/>`)
  await until(() => sides[0]?.got.length === 1)
  const [heard] = await once(secured, 'data')
  assert.equal(String(heard), '<early/>')
})

test('a handshake whose octets come one by one', async (t) => {
  const { port, sides } = await listen(t)
  const socket = await greeted(t, port)
  const through = createServer((inner) => {
    inner.on('data', async (chunk) => {
      inner.pause()
      for (const octet of chunk as Buffer) {
        await new Promise((done) => socket.write(Buffer.of(octet), done))
      }
      inner.resume()
    })
    socket.pipe(inner)
  })
  t.after(() => through.close())
  await once(through.listen(0, '127.0.0.1'), 'listening')
  const { port: its } = through.address() as AddressInfo
  const secured = connectTls({ port: its, host: '127.0.0.1', rejectUnauthorized: false })
  t.after(() => secured.destroy())
  await once(secured, 'secureConnect')
  secured.write(`${HEADER}<a/>`)
  await until(() => sides[0]?.got.length === 1)
})

test('who goes instead of a handshake, or says something else, is gone, and hears nothing', async (t) => {
  const { port, sides } = await listen(t)
  const leaving = await greeted(t, port)
  leaving.end()
  const talking = await greeted(t, port)
  talking.write('<presence/>'.repeat(10))
  await until(() => sides.length === 2 && sides.every(({ isClosed }) => isClosed))
  assert.deepEqual(
    sides.map(({ got }) => got),
    [[], []],
  )
  assert.equal(leaving.bytesRead, LAST.length)
})

test('who is told to go before the handshake hears nothing that is not encrypted', async (t) => {
  const { port, sides } = await listen(t)
  const socket = await greeted(t, port)
  sides[0]?.connection.close('</stream:stream>' as Octets)
  await once(socket, 'close')
  assert.equal(socket.bytesRead, LAST.length)
  await until(() => sides[0]?.isClosed === true)
})

test('who begins the handshake when the certificate is gone is cut off, and nobody else', async (t) => {
  const { port, sides, certificates } = await listen(t)
  const socket = await greeted(t, port)
  certificates.current = undefined
  socket.write('\x16\x03\x01')
  await until(() => sides[0]?.isClosed === true)
  assert.equal(socket.bytesRead, LAST.length)
})

test('a connection that is reset tells why it has closed, before TLS, in its midst and with it', async (t) => {
  const { port, sides } = await listen(t)
  const before = await greeted(t, port)
  before.resetAndDestroy()
  await until(() => sides[0]?.isClosed === true)

  const amid = await greeted(t, port)
  amid.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]))
  await until(() => sides[1]?.connection.socket instanceof TLSSocket)
  amid.resetAndDestroy()
  await until(() => sides[1]?.isClosed === true)

  const socket = await greeted(t, port)
  const secured = connectTls({ socket, rejectUnauthorized: false }).on('error', () => {})
  await once(secured, 'secureConnect')
  secured.write(`${HEADER}<one/>`)
  await until(() => sides[2]?.got.length === 1)
  socket.resetAndDestroy()
  await until(() => sides[2]?.isClosed === true)

  for (const { error } of sides) assert.match(String(error), /ECONNRESET/)
})
