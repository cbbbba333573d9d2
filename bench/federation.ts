/**
 * What a message costs that goes from one Meerkat to another: both in processes of their own on the
 * loopback interface, over TLS with certificates, acknowledged (XEP-0198). Prints JSON.
 * `node bench/federation.ts [pairs, default 50] [window, default 20] [seconds, default 5] [archive]`.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Credential, makeCertificate } from '../src/connection/certificate.ts'
import { createServer as createMeerkat } from '../src/index.ts'
import { freePort } from '../test/support/free-port.ts'
import { describeMachine, gitCommit } from './machine.ts'

const PAIRS = Number(process.argv[2] ?? 50)
const WINDOW = Number(process.argv[3] ?? 20)
const SECONDS = Number(process.argv[4] ?? 5)
const withArchive = process.argv[5] === 'archive'

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const PASSWORD = 'secret'
const BODY = 'x'.repeat(100)
const HOUR_MS = 3_600_000
/** Of `/proc/PID/stat`. */
const TICKS_PER_SECOND = 100
const WARM_UP_MS = 1_000

type Running = { readonly child: ChildProcess; readonly port: number }
type Place = { readonly domain: string; readonly address: string; readonly port: number }

const directory = mkdtempSync(join(tmpdir(), 'meerkat-bench-'))
const validity = { from: Date.now() - HOUR_MS, until: Date.now() + HOUR_MS }
const authority = makeCertificate({ name: 'authority', isAuthority: true, ...validity })
writeFileSync(join(directory, 'ca.pem'), String(authority.certificate))

async function place(domain: string, address: string): Promise<Place> {
  return { domain, address, port: await freePort(address) }
}

async function start(here: Place, there: Place): Promise<Running> {
  const { domain, address, port } = here
  const home = join(directory, domain)
  {
    const listen = { tls: 'none' }
    await using server = await createMeerkat({ domains: [domain], dataDir: home, listen })
    for (let n = 0; n < PAIRS; n++) await server.accounts.register(`user${n}@${domain}`, PASSWORD)
  }
  const pem = join(directory, `${domain}.pem`)
  writeFileSync(pem, certificate(domain).pem)
  const file = join(directory, `${domain}.toml`)
  writeFileSync(
    file,
    `
domains = ["${domain}"]
data_dir = "${home}"
[tls]
certificate = "${pem}"
key = "${pem}"
[[listen.c2s]]
address = "127.0.0.1"
port = 0
tls = "none"
allow_plain_without_tls = true
[[listen.s2s]]
address = "${address}"
port = ${port}
[s2s]
ca = "${join(directory, 'ca.pem')}"
[s2s.overrides."${there.domain}"]
host = "${there.address}"
port = ${there.port}
[log]
level = "warn"
[modules.archive]
enabled = ${withArchive}
`,
  )
  const child = spawn(process.execPath, [MAIN, 'start', '--config', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let clients = 0
  for await (const line of createInterface({ input: child.stdout })) {
    clients = Number(/^listening for clients on .*:(\d+) /.exec(line)?.[1] ?? clients)
    if (line.startsWith('ready')) break
  }
  return { child, port: clients }
}

function certificate(domain: string): Credential {
  return makeCertificate({ name: domain, domains: [domain], issuer: authority, ...validity })
}

/** Logged in and available. */
async function login(port: number, domain: string, name: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  socket.setEncoding('latin1')
  const header = `<stream:stream to='${domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`
  const plain = Buffer.from(`\0${name}\0${PASSWORD}`).toString('base64')
  socket.write(header)
  await said(socket, '</stream:features>')
  socket.write(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`)
  await said(socket, '<success')
  socket.write(header)
  await said(socket, '</stream:features>')
  socket.write(
    `<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq><presence/><iq type='get' id='ping' to='${domain}'><ping xmlns='urn:xmpp:ping'/></iq>`,
  )
  await said(socket, "id='ping'")
  return socket
}

async function said(socket: Socket, text: string): Promise<void> {
  let received = ''
  while (!received.includes(text)) received += (await once(socket, 'data'))[0]
}

let delivered = 0

/** Keeps `WINDOW` messages from one to the other on their way. */
function play(sender: Socket, recipient: Socket, to: string): void {
  const message = `<message to='${to}' type='chat' id='m'><body>${BODY}</body></message>`
  let rest = ''
  recipient.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('</message>')
    rest = parts.pop() ?? ''
    delivered += parts.length
    if (parts.length > 0) sender.write(message.repeat(parts.length))
  })
  sender.on('data', () => {})
  sender.write(message.repeat(WINDOW))
}

/** Seconds of CPU that a process has used. */
function cpuOf({ child }: Running): number {
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

async function measure(capulet: Running, montague: Running) {
  const before = { delivered, out: cpuOf(capulet), in: cpuOf(montague), at: performance.now() }
  await setTimeout(SECONDS * 1_000)
  const count = delivered - before.delivered
  const seconds = (performance.now() - before.at) / 1_000
  const each = (cpu: number) => Math.round((cpu / count) * 1e7) / 10
  return {
    machine: describeMachine(),
    commit: gitCommit(),
    pairs: PAIRS,
    window: WINDOW,
    archive: withArchive,
    messages: count,
    messages_per_s: Math.round(count / seconds),
    sending_server_cpu_us_each: each(cpuOf(capulet) - before.out),
    receiving_server_cpu_us_each: each(cpuOf(montague) - before.in),
  }
}

const here = await place('capulet.example', '127.0.0.2')
const there = await place('montague.example', '127.0.0.3')
const running: Running[] = []
const sockets: Socket[] = []
try {
  const capulet = await start(here, there)
  running.push(capulet)
  const montague = await start(there, here)
  running.push(montague)
  for (let n = 0; n < PAIRS; n++) {
    const sender = await login(capulet.port, here.domain, `user${n}`)
    const recipient = await login(montague.port, there.domain, `user${n}`)
    sockets.push(sender, recipient)
    play(sender, recipient, `user${n}@${there.domain}/r`)
  }
  await setTimeout(WARM_UP_MS)
  console.log(JSON.stringify(await measure(capulet, montague), undefined, 2))
} finally {
  for (const socket of sockets) socket.destroy()
  for (const { child } of running) {
    child.kill()
    await once(child, 'exit')
  }
  rmSync(directory, { recursive: true, force: true })
}
