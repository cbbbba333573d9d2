/**
 * The certificate for `localhost` that a server without any makes at its first start, so that
 * clients on the same machine can be tried with TLS on. Nobody trusts it unless told to.
 */
import {
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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

const DAY_MS = 86_400_000
const LIFETIME_DAYS = 365
/** Made anew when this close to its end. */
const RENEWAL_DAYS = 30
/** Clients' clocks may be behind. */
const BACKDATE_MS = 3_600_000

const DOMAIN = 'localhost'
const LOOPBACK = [Uint8Array.of(127, 0, 0, 1), new Uint8Array(16).with(15, 1)]

const id = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  xmppAddress: '1.3.6.1.5.5.7.8.5',
} as const

/**
 * Path of a PEM file with key and certificate in `directory` (which is made if missing). A usable
 * one is kept; otherwise a new one takes its place. `now` in milliseconds of the epoch.
 */
export async function ensureSelfSigned(directory: string, now: number): Promise<string> {
  const path = join(directory, 'self-signed.pem')
  if (await isUsable(path, now)) return path
  await mkdir(directory, { recursive: true })
  const fresh = `${path}.${randomBytes(6).toString('hex')}`
  await writeFile(fresh, makeSelfSigned(now), { mode: 0o600, flag: 'wx' })
  await rename(fresh, path)
  return path
}

/** A new P-256 key and its certificate, both PEM, in one text. `domain` in A-labels. */
export function makeSelfSigned(now: number, domain = DOMAIN): string {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = sequence(objectIdentifier(id.ecdsaWithSha256))
  const name = sequence(
    der(tags.set, sequence(objectIdentifier(id.commonName), utf8String(domain))),
  )
  // 16 bytes, the first of them below 0x80 and not zero (RFC 5280 §4.1.2.2).
  const serial = randomBytes(16)
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40

  const toBeSigned = sequence(
    tagged(0, positiveInteger(Uint8Array.of(2))), // version 3
    positiveInteger(serial),
    algorithm,
    name,
    sequence(time(new Date(now - BACKDATE_MS)), time(new Date(now + LIFETIME_DAYS * DAY_MS))),
    name,
    publicKey.export({ format: 'der', type: 'spki' }),
    tagged(3, extensions(domain)),
  )
  const certificate = sequence(
    toBeSigned,
    algorithm,
    bitString(sign('sha256', toBeSigned, privateKey)),
  )
  const key = privateKey.export({ format: 'pem', type: 'pkcs8' })
  return `${key}${new X509Certificate(certificate)}`
}

function extensions(domain: string): Buffer {
  const names = sequence(
    tagged(2, Buffer.from(domain), 'primitive'),
    ...LOOPBACK.map((address) => tagged(7, address, 'primitive')),
    // RFC 6120 §13.7.1.4.
    tagged(0, Buffer.concat([objectIdentifier(id.xmppAddress), tagged(0, utf8String(domain))])),
  )
  return sequence(
    extension(id.subjectAltName, names),
    criticalExtension(id.basicConstraints, sequence()),
    criticalExtension(id.keyUsage, bitString(Uint8Array.of(0x80), 7)), // digitalSignature
    extension(id.extendedKeyUsage, sequence(objectIdentifier(id.serverAuth))),
  )
}

function extension(name: string, value: Buffer): Buffer {
  return sequence(objectIdentifier(name), der(tags.octetString, value))
}

function criticalExtension(name: string, value: Buffer): Buffer {
  const isCritical = der(tags.boolean, Uint8Array.of(0xff))
  return sequence(objectIdentifier(name), isCritical, der(tags.octetString, value))
}

async function isUsable(path: string, now: number): Promise<boolean> {
  try {
    const pem = await readFile(path)
    const certificate = new X509Certificate(pem)
    const renewal = Date.parse(certificate.validTo) - RENEWAL_DAYS * DAY_MS
    if (now >= renewal || !certificate.checkPrivateKey(createPrivateKey(pem))) return false
    await chmod(path, 0o600)
    return true
  } catch {
    // Missing, damaged or not readable: writing a new one tells which.
    return false
  }
}
