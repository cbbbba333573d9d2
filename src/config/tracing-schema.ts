import { z } from 'zod'

/** `[tracing]`. */
export const tracing = z
  .strictObject({
    otlp: z
      .url({ protocol: /^https?$/, error: 'an address such as "http://127.0.0.1:4318/v1/traces"' })
      .optional()
      .describe(
        'Where spans of stanzas are sent by OTLP over HTTP, such as ' +
          '"http://127.0.0.1:4318/v1/traces". Without it, none are made.',
      ),
    ratio: z
      .number()
      .min(0)
      .max(1)
      .default(0.01)
      .describe('Of how many of the stanzas that come in, with all that they cause: 1 is each.'),
    service_name: z.string().min(1).default('meerkat').describe('What spans say they come from.'),
  })
  .prefault({})
  .describe('Traces for OpenTelemetry.')
