import { hostname } from 'node:os'
import { z } from 'zod'
import { duration } from '../core/config-types.ts'
import { path } from './paths.ts'

/** Keys of the configuration file that are about other nodes of the same server. */

/** Names become parts of subjects and keys. */
const NAME = /^[A-Za-z0-9_-]{1,63}$/
const NAME_WANTED = 'up to 63 letters, digits, "-" and "_"'

const ownName = () =>
  hostname()
    .split('.')[0]
    ?.replace(/[^A-Za-z0-9_-]/g, '-')
    .slice(0, 63) ?? ''

export const cluster = z
  .strictObject({
    nats: z
      .array(
        z.string().regex(/^(nats|tls):\/\/[^\s/]+$/, 'an address such as "nats://10.0.0.1:4222"'),
      )
      .min(1)
      .describe('The NATS servers, with JetStream enabled: "nats://host:port".'),
    name: z
      .string()
      .regex(NAME, NAME_WANTED)
      .default('meerkat')
      .describe('The same for all nodes; another for another cluster on the same NATS.'),
    node: z
      .string()
      .regex(NAME, NAME_WANTED)
      .optional()
      // No default of the schema: its reference would be of one machine.
      .transform((name) => name ?? ownName())
      .describe(
        'What this node is called, in no other way after a restart. Default: the host name.',
      ),
    user: z.string().optional().describe('Whom NATS knows this node as.'),
    password: z.string().optional().describe('The password of that user.'),
    token: z.string().optional().describe('Instead of user and password.'),
    credentials: path.optional().describe('Instead of them: a file that `nsc` made.'),
    tls: z
      .strictObject({
        ca: path.optional().describe('PEM file of who vouches for the NATS servers.'),
        certificate: path.optional().describe('PEM file with the certificate of this node.'),
        key: path.optional().describe('PEM file with its private key.'),
      })
      .optional()
      .describe('TLS towards NATS.'),
    replicas: z
      .union([z.literal(1), z.literal(3), z.literal(5)])
      .default(1)
      .describe('How many servers of a NATS cluster keep the table of sessions.'),
    lease: duration({ min: '500ms', max: '5m' })
      .prefault('3s')
      .describe('A node that is not heard of for so long is given up, and its sessions are gone.'),
    patience: duration({ min: '1s', max: '1h' })
      .prefault('30s')
      .describe('How long stanzas for sessions of a node out of reach wait, while NATS is away.'),
  })
  .optional()
  .describe('Other nodes that serve the same domains; see `docs/cluster.md`.')
