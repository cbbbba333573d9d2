/**
 * Channel bindings: what ties an authentication to the TLS connection it ran over, so that a man in
 * the middle with a certificate of his own cannot pass it on. tls-exporter (RFC 9266),
 * tls-server-end-point (RFC 5929 §4); announced as XEP-0440 wants.
 */
import { createHash, type X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { dotted, readDer, tags } from '../../connection/der.ts'
import { type Element, el } from '../../xmpp/xml.ts'

export const CHANNEL_BINDING_NS = 'urn:xmpp:sasl-cb:0'

export type ChannelBindingType = 'tls-exporter' | 'tls-server-end-point'

/**
 * tls-unique (RFC 5929 §3) is accepted and never announced: it has no definition for TLS 1.3
 * (RFC 9266), but clients that know no other type choose a -PLUS mechanism all the same and would
 * not get in. The Finished message it takes is bound to the connection there, too.
 */
export type AcceptedBindingType = ChannelBindingType | 'tls-unique'

const strongestFirst: readonly ChannelBindingType[] = ['tls-exporter', 'tls-server-end-point']

const EXPORTER_LABEL = 'EXPORTER-Channel-Binding'
const EXPORTER_BYTES = 32

/** A TLS connection, its handshake over, as far as an authentication can be tied to it. */
export interface Channel {
  readonly socket: TLSSocket
  /** What the client has seen of ours; `undefined` when that cannot be told. */
  readonly certificate: X509Certificate | undefined
}

/**
 * `undefined` where the channel has no such binding.
 *
 * tls-exporter is given for TLS 1.3 only: for 1.2 it is sound only with the extended master secret
 * (RFC 9266 §4.2), and Node does not tell whether that was negotiated.
 */
export function channelBinding(
  { socket, certificate }: Channel,
  type: AcceptedBindingType,
): Buffer | undefined {
  if (type === 'tls-unique') {
    // The first Finished of the handshake: the client's, unless a session was resumed.
    return socket.isSessionReused() ? socket.getFinished() : socket.getPeerFinished()
  }
  if (type === 'tls-exporter') {
    if (socket.getProtocol() !== 'TLSv1.3') return undefined
    return socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0))
  }
  return certificate && endPointBinding(certificate.raw)
}

/** The types `channel` has a binding for, strongest first. */
export function channelBindingTypes(channel: Channel): ChannelBindingType[] {
  return strongestFirst.filter((type) => channelBinding(channel, type) !== undefined)
}

/** The stream feature (XEP-0440 §2); absent when there is nothing to announce. */
export function channelBindingFeature(types: readonly ChannelBindingType[]): Element | undefined {
  if (types.length === 0) return undefined
  return el(
    'sasl-channel-binding',
    { xmlns: CHANNEL_BINDING_NS },
    ...types.map((type) => el('channel-binding', { type })),
  )
}

/**
 * tls-server-end-point: the certificate (DER) hashed as its own signature hashes, with SHA-256 in
 * place of MD5 and SHA-1. `undefined` for signatures that use no hash or one unknown to us, for
 * which RFC 5929 §4.1 defines no binding (Ed25519).
 */
export function endPointBinding(certificate: Buffer): Buffer | undefined {
  const hash = signatureHash(certificate)
  return hash === undefined ? undefined : createHash(hash).update(certificate).digest()
}

const RSA = '1.2.840.113549.1.1'
const ECDSA = '1.2.840.10045.4'
const NIST_HASH = '2.16.840.1.101.3.4.2'
const NIST_SIGNATURE = '2.16.840.1.101.3.4.3'
const RSA_PSS = `${RSA}.10`

/** Hashes by signature algorithm; by themselves too, for RSASSA-PSS, which names one. */
const hashes: ReadonlyMap<string, string> = new Map([
  [`${RSA}.4`, 'sha256'], // MD5
  [`${RSA}.5`, 'sha256'], // SHA-1
  [`${RSA}.11`, 'sha256'],
  [`${RSA}.12`, 'sha384'],
  [`${RSA}.13`, 'sha512'],
  [`${RSA}.14`, 'sha224'],
  [`${ECDSA}.1`, 'sha256'], // SHA-1
  [`${ECDSA}.3.1`, 'sha224'],
  [`${ECDSA}.3.2`, 'sha256'],
  [`${ECDSA}.3.3`, 'sha384'],
  [`${ECDSA}.3.4`, 'sha512'],
  [`${NIST_SIGNATURE}.10`, 'sha3-256'], // ECDSA
  [`${NIST_SIGNATURE}.11`, 'sha3-384'],
  [`${NIST_SIGNATURE}.12`, 'sha3-512'],
  [`${NIST_SIGNATURE}.14`, 'sha3-256'], // RSA
  [`${NIST_SIGNATURE}.15`, 'sha3-384'],
  [`${NIST_SIGNATURE}.16`, 'sha3-512'],
  [`${NIST_HASH}.1`, 'sha256'],
  [`${NIST_HASH}.2`, 'sha384'],
  [`${NIST_HASH}.3`, 'sha512'],
  [`${NIST_HASH}.4`, 'sha224'],
])

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature } (RFC 5280 §4.1). */
function signatureHash(certificate: Buffer): string | undefined {
  try {
    const [, algorithm] = readDer(inner(readDer(certificate)[0]))
    const [id, parameters] = readDer(inner(algorithm))
    const name = dotted(inner(id))
    return name === RSA_PSS ? pssHash(inner(parameters)) : hashes.get(name)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

/** RSASSA-PSS-params starts with [0] { hashAlgorithm }; left out it is SHA-1 (RFC 4055 §3.1). */
function pssHash(parameters: Buffer): string | undefined {
  const first = readDer(parameters)[0]
  if (first?.tag !== 0xa0) return 'sha256'
  const [id] = readDer(inner(readDer(first.content)[0]))
  if (id?.tag !== tags.objectIdentifier) return undefined
  const name = dotted(id.content)
  return name === '1.3.14.3.2.26' ? 'sha256' : hashes.get(name)
}

function inner(value: { readonly content: Buffer } | undefined): Buffer {
  if (value === undefined) throw new RangeError('certificate with a part missing')
  return value.content
}
