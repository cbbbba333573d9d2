import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Credential } from '../../src/connection/certificate.ts'
import { makeAuthority, makeDomainCertificate, writePem } from './certificates.ts'
import { DnsServer } from './dns.ts'
import { type Settings, startServer, type TestServer } from './server.ts'

type Table = { readonly [key: string]: unknown }

export type ServerWishes = Omit<Settings, 'servers' | 's2s'> & {
  /** In place of one that the authority vouches for. */
  readonly certificate?: Credential
  readonly listener?: Table
  readonly s2s?: Table
}

const RETRY = { retry_delay: '10ms', max_retry_delay: '100ms' }

/** A part of the internet: DNS, an authority that all trust, and servers that find one another. */
export class Internet implements AsyncDisposable {
  readonly dns: DnsServer
  readonly authority: Credential
  readonly directory: string
  readonly #servers: TestServer[] = []
  #lastAddress = 1

  private constructor(dns: DnsServer, authority: Credential, directory: string) {
    this.dns = dns
    this.authority = authority
    this.directory = directory
  }

  static async start(): Promise<Internet> {
    const directory = await mkdtemp(join(tmpdir(), 'meerkat-internet-'))
    const authority = makeAuthority()
    await writePem(directory, 'authority', { pem: String(authority.certificate) })
    return new Internet(await DnsServer.start(), authority, directory)
  }

  get ca(): string {
    return join(this.directory, 'authority.pem')
  }

  /** A server for `domain` at an address of its own, which DNS knows. */
  async server(domain: string, wishes: ServerWishes = {}): Promise<TestServer> {
    const { certificate = this.certify(domain), listener, s2s, ...settings } = wishes
    const address = `127.0.0.${++this.#lastAddress}`
    const path = await writePem(this.directory, `${domain}-${this.#lastAddress}`, certificate)
    const server = await startServer({
      domains: [domain],
      tls: { certificate: path, key: path },
      servers: { address, ...listener },
      s2s: { ca: this.ca, resolver: [this.dns.address], ...RETRY, ...s2s },
      ...settings,
    })
    this.#servers.push(server)
    this.locate(domain, server)
    return server
  }

  /**
   * Tables of the configuration file of a server that is a part of it, in a process of its own. DNS
   * knows nothing of it.
   */
  async tables(domain: string, address: string, port: number): Promise<string> {
    const certificate = await writePem(this.directory, domain, this.certify(domain))
    return `
[tls]
certificate = "${certificate}"
key = "${certificate}"
[[listen.s2s]]
address = "${address}"
port = ${port}
[s2s]
ca = "${this.ca}"
resolver = ["${this.dns.address}"]
`
  }

  /** DNS says that a server is the one of a domain. */
  locate(domain: string, server: TestServer): void {
    const [listener] = server.server.serverListeners
    if (listener === undefined) throw new Error('it does not listen for servers')
    const { host, port } = listener.address
    this.locateAt(domain, host, port, listener.tls === 'direct')
  }

  locateAt(domain: string, address: string, port: number, isDirect = false): void {
    const service = isDirect ? '_xmpps-server' : '_xmpp-server'
    this.dns.services(`${service}._tcp.${domain}`, { port, target: `xmpp.${domain}` })
    this.dns.addresses(`xmpp.${domain}`, address)
  }

  /** As `locate`, for those who look up addresses elsewhere than in DNS. */
  locateByAddress(domain: string, server: TestServer): void {
    const [listener] = server.server.serverListeners
    if (listener === undefined) throw new Error('it does not listen for servers')
    const { host, port } = listener.address
    this.dns.services(`_xmpp-server._tcp.${domain}`, { port, target: host })
  }

  certify(domain: string, wishes: Parameters<typeof makeDomainCertificate>[2] = {}): Credential {
    return makeDomainCertificate(domain, this.authority, wishes)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server[Symbol.asyncDispose]()
    await this.dns[Symbol.asyncDispose]()
    await rm(this.directory, { recursive: true, force: true })
  }
}
