/**
 * The certificate for `localhost` that a server without any makes at its first start, so that
 * clients on the same machine can be tried with TLS on. Nobody trusts it unless told to.
 */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeCertificate } from './certificate.ts'

const DAY_MS = 86_400_000
const LIFETIME_DAYS = 365
/** Made anew when this close to its end. */
const RENEWAL_DAYS = 30
/** Clients' clocks may be behind. */
const BACKDATE_MS = 3_600_000

const DOMAIN = 'localhost'
const LOOPBACK = [Uint8Array.of(127, 0, 0, 1), new Uint8Array(16).with(15, 1)]

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
  return makeCertificate({
    name: domain,
    from: now - BACKDATE_MS,
    until: now + LIFETIME_DAYS * DAY_MS,
    domains: [domain],
    addresses: LOOPBACK,
    xmppAddresses: [domain],
    usages: ['serverAuth'],
  }).pem
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
