import { z } from 'zod'
import { listenAddress, listenPort } from './listener-parts.ts'

export const HTTP_SERVICES = ['api', 'page', 'metrics', 'health'] as const

/** `[[listen.http]]`. */
export const httpListener = z
  .strictObject({
    address: listenAddress().default('127.0.0.1'),
    port: listenPort()
      .optional()
      .describe('TCP port; 0 is any free one. Default: 5280, or 5443 where TLS is direct.'),
    tls: z
      .enum(['none', 'direct'])
      .default('none')
      .describe(
        '"direct": HTTPS; "none": HTTP, for this machine, a trusted network or a proxy in front.',
      ),
    services: z
      .array(z.enum(HTTP_SERVICES))
      .min(1)
      .default([...HTTP_SERVICES])
      .refine((services) => !services.includes('page') || services.includes('api'), {
        error: '"api" beside "page", which asks it for everything',
      })
      .describe(
        'What is served here. "api": administration, with tokens; "page": the admin page at ' +
          '/admin/, which needs "api" beside it; "metrics": numbers for Prometheus at /metrics, ' +
          'for everybody who can connect; "health": /health/live and /health/ready, likewise.',
      ),
    max_connections: z.int().min(1).default(1_000).describe('Connections at the same time.'),
    max_connections_per_address: z
      .int()
      .min(1)
      .default(100)
      .describe(
        'Connections at the same time from one IP address (or IPv6 network of 64 bits); a proxy has one.',
      ),
  })
  .transform((listener) => ({
    ...listener,
    port: listener.port ?? (listener.tls === 'direct' ? 5443 : 5280),
  }))

export type HttpListener = z.output<typeof httpListener>
