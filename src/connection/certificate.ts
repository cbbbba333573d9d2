/** Makes X.509 certificates (RFC 5280), which Node can only read. */
import {
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'
import {
  bitString,
  der,
  objectIdentifier,
  positiveInteger,
  sequence,
  tagged,
  tags,
  time,
  utf8String,
} from './der.ts'

const id = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const

/** Other names of RFC 6120 §13.7.1.4 and RFC 4985. */
export const XMPP_ADDRESS = '1.3.6.1.5.5.7.8.5'
export const SERVICE_NAME = '1.3.6.1.5.5.7.8.7'

/** Bits of key usage, from the highest. */
const DIGITAL_SIGNATURE = 0x80
const SIGNING_CERTIFICATES = 0x04

/** A certificate and the key it is for. */
export type Credential = {
  readonly certificate: X509Certificate
  readonly key: KeyObject
  /** Both in one text: key, certificate. */
  readonly pem: string
}

export type CertificateOptions = {
  /** Common name; clients go by the other names. */
  readonly name: string
  /** Milliseconds since the epoch. */
  readonly from: number
  readonly until: number
  /** Who signs it; itself when absent. */
  readonly issuer?: Credential
  /** May sign others. */
  readonly isAuthority?: boolean
  /** DNS names, in A-labels. */
  readonly domains?: readonly string[]
  /** IP addresses, of 4 or 16 bytes. */
  readonly addresses?: readonly Uint8Array[]
  /** RFC 6120 §13.7.1.4. */
  readonly xmppAddresses?: readonly string[]
  /** RFC 4985, such as `_xmpp-server.example.org`. */
  readonly services?: readonly string[]
  /** What the key may be used for in TLS; both unless told. */
  readonly usages?: readonly ('serverAuth' | 'clientAuth')[]
}

/** A new P-256 key and its certificate. */
export function makeCertificate(options: CertificateOptions): Credential {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { name, issuer, from, until } = options
  const algorithm = sequence(objectIdentifier(id.ecdsaWithSha256))
  // 16 bytes, the first of them below 0x80 and not zero (RFC 5280 §4.1.2.2).
  const serial = randomBytes(16)
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  const toBeSigned = sequence(
    tagged(0, positiveInteger(Uint8Array.of(2))), // version 3
    positiveInteger(serial),
    algorithm,
    commonName(issuer === undefined ? name : commonNameOf(issuer.certificate)),
    sequence(time(new Date(from)), time(new Date(until))),
    commonName(name),
    publicKey.export({ format: 'der', type: 'spki' }),
    tagged(3, extensions(options)),
  )
  const signature = sign('sha256', toBeSigned, issuer?.key ?? privateKey)
  const certificate = new X509Certificate(sequence(toBeSigned, algorithm, bitString(signature)))
  const key = privateKey.export({ format: 'pem', type: 'pkcs8' })
  return { certificate, key: privateKey, pem: `${key}${certificate}` }
}

function commonName(name: string): Buffer {
  const attribute = sequence(objectIdentifier(id.commonName), utf8String(name))
  return sequence(der(tags.set, attribute))
}

function commonNameOf({ subject }: X509Certificate): string {
  return subject.replace(/^CN=/, '')
}

function extensions(options: CertificateOptions): Buffer {
  const { isAuthority = false, usages = ['serverAuth', 'clientAuth'] } = options
  const names = alternativeNames(options)
  const constraints = isAuthority ? sequence(der(tags.boolean, TRUE)) : sequence()
  const usage = isAuthority
    ? bitString(Uint8Array.of(SIGNING_CERTIFICATES), 2)
    : bitString(Uint8Array.of(DIGITAL_SIGNATURE), 7)
  const purposes = usages.map((purpose) => objectIdentifier(id[purpose]))
  return sequence(
    ...(names.length === 0 ? [] : [extension(id.subjectAltName, sequence(...names))]),
    criticalExtension(id.basicConstraints, constraints),
    criticalExtension(id.keyUsage, usage),
    ...(isAuthority ? [] : [extension(id.extendedKeyUsage, sequence(...purposes))]),
  )
}

function alternativeNames(options: CertificateOptions): Buffer[] {
  const { domains = [], addresses = [], xmppAddresses = [], services = [] } = options
  return [
    ...domains.map((domain) => tagged(2, Buffer.from(domain), 'primitive')),
    ...addresses.map((address) => tagged(7, address, 'primitive')),
    ...xmppAddresses.map((address) => otherName(XMPP_ADDRESS, utf8String(address))),
    ...services.map((service) =>
      otherName(SERVICE_NAME, der(tags.ia5String, Buffer.from(service))),
    ),
  ]
}

function otherName(type: string, value: Buffer): Buffer {
  return tagged(0, Buffer.concat([objectIdentifier(type), tagged(0, value)]))
}

const TRUE = Uint8Array.of(0xff)

function extension(name: string, value: Buffer): Buffer {
  return sequence(objectIdentifier(name), der(tags.octetString, value))
}

function criticalExtension(name: string, value: Buffer): Buffer {
  return sequence(objectIdentifier(name), der(tags.boolean, TRUE), der(tags.octetString, value))
}
