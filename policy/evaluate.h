// SPDX-License-Identifier: Apache-2.0
/*
 * The verdict on one message: f(message, envelope, DNS answers, time), design 6. It
 * opens nothing, asks nobody and remembers nothing; what it keeps between
 * calls are library handles and scratch memory.
 */
#ifndef POLICY_EVALUATE_H
#define POLICY_EVALUATE_H

#include "base/conf.h"
#include "base/proto/relay_verify.h"

struct evaluate;

struct evaluate *evaluate_new(void);
void evaluate_free(struct evaluate **ep);

/*
 * Evaluates `msg` (content as received, CRLF lines). The slices of *out are borrowed
 * until the next call. With VERIFY_WANT all names that are known to be missing are
 * told at once; the same call with their answers brings it on.
 */
void evaluate_run(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct slice msg, struct verify_done *out);

/*
 * Reads what came to a return path instead (spec 2.2.3): out->bounce. Nobody is asked for
 * names, and nothing is refused: it is not kept, only counted.
 */
void evaluate_bounce(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct slice msg, struct verify_done *out);

/* The answer when the message itself cannot be read: held, with our trace. */
void evaluate_failed(struct evaluate *e, const struct conf *c, const struct verify_eval *in,
    struct verify_done *out);

#endif
