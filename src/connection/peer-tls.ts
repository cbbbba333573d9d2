/** TLS between servers, each of which may show a certificate (RFC 6120 §13.7, XEP-0178). */
import type { X509Certificate } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import { connect, type SecureContext, type TLSSocket } from 'node:tls'
import { namesDomain } from './server-identity.ts'
import {
  ALPN,
  type Authorities,
  anonymousContext,
  asciiDomain,
  type TlsCertificates,
} from './tls.ts'

type Parties = {
  /** Of ours. */
  readonly local: string
  readonly remote: string
  /** TLS from the first octet (XEP-0368). */
  readonly isDirect: boolean
}

export class PeerTls {
  readonly #certificates: TlsCertificates
  #anonymous: SecureContext

  /** Without certificates it can still connect. */
  constructor(certificates: TlsCertificates, authorities: Authorities) {
    this.#certificates = certificates
    this.#anonymous = anonymousContext(authorities)
  }

  /** For connections from now on. */
  trust(authorities: Authorities): void {
    this.#anonymous = anonymousContext(authorities)
  }

  get mayAccept(): boolean {
    return !this.#certificates.isEmpty
  }

  /** As the side that was connected to. Emits `secure` when the handshake is done. */
  accept(
    socket: Socket,
    options: { readonly isDirect: boolean; readonly domain?: string },
  ): TLSSocket {
    return this.#certificates.secure(socket, { ...options, peer: 'server' })
  }

  /**
   * As the side that connects. Emits `secureConnect` when the handshake is done, whatever the
   * certificate: ask `provesDomain`.
   */
  connect(socket: Socket, { local, remote, isDirect }: Parties): TLSSocket {
    return connect({
      socket,
      secureContext: this.mayAccept ? this.#certificates.contextFor(local) : this.#anonymous,
      servername: serverName(remote),
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...(isDirect && { ALPNProtocols: [ALPN.server] }),
    })
  }
}

/** XEP-0368 §3; addresses have none (RFC 6066 §3). */
function serverName(domain: string): string {
  return isIP(domain.replace(/^\[|\]$/g, '')) === 0 ? asciiDomain(domain) : ''
}

/** What Node.js asks of the connections of its own TLS servers, to set `authorized`. */
type Handle = { readonly _handle?: { verifyError(): Error | null | undefined } | null }

/**
 * Whether the peer has shown a certificate for `domain` that an authority vouches for. Not before
 * the handshake is done. Fails closed.
 */
export function provesDomain(socket: TLSSocket, domain: string): boolean {
  const certificate = peerCertificate(socket)
  return certificate !== undefined && isVouchedFor(socket) && namesDomain(certificate, domain)
}

/** Why a certificate proves nothing, for the log and the senders of what it kept back. */
export function whyUnproven(socket: TLSSocket, domain: string): string {
  const certificate = peerCertificate(socket)
  if (certificate === undefined) return 'no certificate'
  if (!isVouchedFor(socket)) return `certificate: ${verifyError(socket)?.message ?? 'not verified'}`
  return `certificate does not name ${domain}`
}

export function peerCertificate(socket: TLSSocket): X509Certificate | undefined {
  return socket.getPeerX509Certificate()
}

function isVouchedFor(socket: TLSSocket): boolean {
  return socket.authorized || verifyError(socket) === undefined
}

function verifyError(socket: TLSSocket): Error | undefined {
  const { _handle: handle } = socket as unknown as Handle
  if (typeof handle?.verifyError !== 'function') return new Error('the connection is closed')
  return handle.verifyError() ?? undefined
}
