/**
 * TLS (RFC 7590, RFC 9325): which certificate answers for which domain,
 * with what protocol versions and ciphers, read from PEM files and read again without a restart.
 */
import { constants, createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isIP, type Socket } from 'node:net'
import {
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from 'node:tls'
import { domainToASCII } from 'node:url'

export interface CertificateFiles {
  /** PEM: the server's certificate, then its intermediates. */
  readonly certificate: string
  /** PEM, not encrypted. May be the same file. */
  readonly key: string
  /** Domains it is for whatever it says itself; the others it covers are found out. */
  readonly domains?: readonly string[]
}

/** A certificate or key that cannot be used; the message names the file and says why. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError'
}

/** XEP-0368 §3, by who connects. Of direct TLS only: STARTTLS has chosen its protocol before. */
export const ALPN = { client: 'xmpp-client', server: 'xmpp-server' } as const

/** Tells sessions of ours from those of other programs; needed to resume one with a client's certificate. */
const SESSION_CONTEXT = 'meerkat'

/** RFC 9325 §4.2, and ChaCha20 for clients without AES hardware; all with forward secrecy. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

const PROTOCOL = {
  minVersion: 'TLSv1.2',
  ciphers: CIPHERS,
  honorCipherOrder: true,
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  sessionIdContext: SESSION_CONTEXT,
} as const satisfies SecureContextOptions

/** For who connects without a certificate of its own. */
export function anonymousContext({ ca }: Authorities): SecureContext {
  return createSecureContext({ ...PROTOCOL, ...(ca !== undefined && { ca }) })
}

/** PEM: who vouches for peers; those that Node.js knows when absent. */
export type Authorities = { readonly ca?: Buffer | undefined }

interface Loaded {
  readonly domains: ReadonlySet<string>
  readonly x509: X509Certificate
  readonly context: SecureContext
}

/** Which of several answers for a domain. The first does when none fits. */
class Choice {
  readonly all: readonly [Loaded, ...Loaded[]]
  /** The same for all connections, each of which keeps it: for names that clients ask for (SNI). */
  readonly answer = (name: string, tell: (error: null, context: SecureContext) => void): void =>
    tell(null, this.for(name).context)

  constructor(all: readonly [Loaded, ...Loaded[]]) {
    this.all = all
  }

  for(domain: string): Loaded {
    const { all } = this
    const name = asciiDomain(domain)
    return (
      all.find(({ domains }) => domains.has(name)) ??
      all.find(({ x509 }) => coversDomain(x509, name)) ??
      all[0]
    )
  }
}

/** What a connection was started with. */
const STARTED_WITH = Symbol('started with')
type Started = TLSSocket & { [STARTED_WITH]?: Choice }

/** Certificates that were read, and from where. */
export type CertificateSet = {
  readonly files: readonly CertificateFiles[]
  readonly authorities: Authorities
  readonly loaded: Choice
}

/**
 * The certificates in use. Of several that fit a domain, one that names it in `domains` comes
 * first, then the order given; the first of all answers clients that ask for none or an unknown one.
 */
export class TlsCertificates {
  /** In force; `undefined` where nothing speaks TLS. */
  current: CertificateSet | undefined

  constructor(current?: CertificateSet) {
    this.current = current
  }

  /** What files hold, to be made `current`. Throws `CertificateError`. */
  static async read(
    files: readonly CertificateFiles[],
    authorities: Authorities = {},
  ): Promise<CertificateSet> {
    return { files, authorities, loaded: await loadAll(files, authorities) }
  }

  /** Throws `CertificateError`. */
  static async load(
    files: readonly CertificateFiles[],
    authorities: Authorities = {},
  ): Promise<TlsCertificates> {
    return new TlsCertificates(await TlsCertificates.read(files, authorities))
  }

  /**
   * Reads the files again, for connections from now on. Throws `CertificateError` when any cannot
   * be used; then all stay as they were.
   *
   * Tickets issued before are void, since each context has ticket keys of its own. That must be so: a
   * client resuming with one would still bind to the certificate it saw then (tls-server-end-point).
   * Reloading now and then also changes those keys as often as RFC 9325 §3.4 wants.
   */
  async reload(): Promise<void> {
    if (this.current === undefined) return
    const { files, authorities } = this.current
    this.current = await TlsCertificates.read(files, authorities)
  }

  get isEmpty(): boolean {
    return this.current === undefined
  }

  get #loaded(): Choice {
    if (this.current === undefined) throw new CertificateError('no certificate configured')
    return this.current.loaded
  }

  /** To speak for `domain` with, to whoever it connects to. */
  contextFor(domain: string): SecureContext {
    return this.#loaded.for(domain).context
  }

  /** The certificate that clients of `domain` get to see. */
  certificateFor(domain: string): X509Certificate {
    return this.#loaded.for(domain).x509
  }

  /**
   * Starts TLS as the server side on a connection of which no byte of TLS is read yet. The result
   * emits `secure` after the handshake, `error` if it fails; a time limit is the caller's.
   * `domain` stands in for the name of a client that sends none (SNI). A server that connects is
   * asked for its certificate, and may show any or none: see `isVouchedFor`.
   */
  secure(
    socket: Socket,
    options: {
      readonly isDirect: boolean
      readonly domain?: string
      readonly peer?: keyof typeof ALPN
    },
  ): TLSSocket {
    const { peer = 'client' } = options
    const loaded = this.#loaded
    const fallback = options.domain === undefined ? loaded.all[0] : loaded.for(options.domain)
    const secured: Started = new TLSSocket(socket, {
      isServer: true,
      secureContext: fallback.context,
      SNICallback: loaded.answer,
      ...(peer === 'server' && { requestCert: true, rejectUnauthorized: false }),
      ...(options.isDirect && { ALPNProtocols: [ALPN[peer]] }),
    })
    secured[STARTED_WITH] = loaded
    return secured
  }

  /**
   * The certificate that the client of `socket`, made by `secure`, has seen; `undefined` when that
   * cannot be told.
   *
   * A resumed session shows none, so it is the one from when the session began. TLS 1.3 repeats the
   * name for which; TLS 1.2 does not let us see it, and leaves doubt where there are several.
   */
  shownTo(socket: Started): X509Certificate | undefined {
    const loaded = socket[STARTED_WITH]
    if (!loaded || !socket.isSessionReused()) return socket.getX509Certificate()
    if (loaded.all.length === 1) return loaded.all[0].x509
    const { servername } = socket as TLSSocket & { readonly servername?: string | false | null }
    return servername ? loaded.for(servername).x509 : undefined
  }
}

/** By DNS-ID, wildcards included (RFC 9525 §6.3), or by IP address for the rare domain that is one. */
export function coversDomain(certificate: X509Certificate, domain: string): boolean {
  const address = domain.replace(/^\[|\]$/g, '')
  if (isIP(address)) return certificate.checkIP(address) !== undefined
  const options = { subject: 'never', partialWildcards: false } as const
  return certificate.checkHost(asciiDomain(domain), options) !== undefined
}

/** Why clients of `domain` will refuse this certificate, as far as it can tell; for a warning at start. */
export function certificateProblem(
  certificate: X509Certificate,
  domain: string,
  now: number,
): string | undefined {
  if (!coversDomain(certificate, domain)) {
    return `certificate does not cover ${domain}; it has ${certificate.subjectAltName ?? 'no names'}`
  }
  if (now >= Date.parse(certificate.validTo)) return `certificate ended ${certificate.validTo}`
  if (now < Date.parse(certificate.validFrom)) return `certificate starts ${certificate.validFrom}`
  return undefined
}

/** Certificates and SNI carry A-labels. IPv6 literals and the like stay as they are. */
export function asciiDomain(domain: string): string {
  return domainToASCII(domain) || domain.toLowerCase()
}

async function loadAll(
  files: readonly CertificateFiles[],
  authorities: Authorities,
): Promise<Choice> {
  const [first, ...others] = await Promise.all(files.map((pair) => load(pair, authorities)))
  if (first === undefined) throw new CertificateError('no certificate configured')
  return new Choice([first, ...others])
}

async function load(files: CertificateFiles, { ca }: Authorities): Promise<Loaded> {
  const [cert, key] = await Promise.all([read(files.certificate), read(files.key)])
  const x509 = attempt(files.certificate, () => new X509Certificate(cert))
  const privateKey = attempt(files.key, () => createPrivateKey(key))
  if (!x509.checkPrivateKey(privateKey)) {
    throw new CertificateError(`${files.key}: is not the key of ${files.certificate}`)
  }
  const context = attempt(files.certificate, () =>
    createSecureContext({ ...PROTOCOL, cert, key, ...(ca !== undefined && { ca }) }),
  )
  const domains = new Set((files.domains ?? []).map(asciiDomain))
  return { domains, x509, context }
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    throw unusable(path, error)
  }
}

function attempt<T>(path: string, use: () => T): T {
  try {
    return use()
  } catch (error) {
    throw unusable(path, error)
  }
}

function unusable(path: string, error: unknown): CertificateError {
  const reason = error instanceof Error ? error.message : String(error)
  return new CertificateError(`${path}: ${reason}`, { cause: error })
}
