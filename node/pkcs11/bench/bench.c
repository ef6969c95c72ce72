/*
 * What the module costs, beside bare SoftHSM in the same process on the same token; one JSON object on standard
 * output, name -> {value, unit, goal, met, how, runs} as in benchmarks/results.json.
 * The agent is the fake one of the tests, in a thread: it answers at once.
 */
#include "partition.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 41
#define SIGNATURES 300
#define DERIVATIONS 100
#define COMMITS 10

static struct partition partition;

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Seconds of one run of `count` operations through `list`. */
typedef double run_through(CK_FUNCTION_LIST_PTR list, size_t count);

static CK_OBJECT_HANDLE signing_key, verifying_key;

static double sign(CK_FUNCTION_LIST_PTR list, size_t count)
{
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
    CK_BYTE digest[32] = {1}, signature[64];
    double begin = now();

    for (size_t i = 0; i < count; i++) {
        CK_ULONG length = sizeof signature;

        need(list->C_SignInit(partition.session, &ecdsa, signing_key) == CKR_OK, "C_SignInit");
        need(list->C_Sign(partition.session, digest, sizeof digest, signature, &length) == CKR_OK, "C_Sign");
    }
    return now() - begin;
}

static double derive(CK_FUNCTION_LIST_PTR list, size_t count)
{
    CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
    CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
    CK_ULONG length = 32;
    CK_BYTE point[80];
    CK_ATTRIBUTE ec_point = {CKA_EC_POINT, point, sizeof point};
    CK_ECDH1_DERIVE_PARAMS parameters = {.kdf = CKD_NULL};
    CK_MECHANISM ecdh = {CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_CLASS, secret_class), ATTRIBUTE(CKA_KEY_TYPE, generic),
                               ATTRIBUTE(CKA_TOKEN, no), ATTRIBUTE(CKA_VALUE_LEN, length)};
    CK_OBJECT_HANDLE key;
    double begin;

    need(list->C_GetAttributeValue(partition.session, verifying_key, &ec_point, 1) == CKR_OK, "CKA_EC_POINT");
    parameters.pPublicData = point;
    parameters.ulPublicDataLen = ec_point.ulValueLen;
    begin = now();
    for (size_t i = 0; i < count; i++) {
        need(list->C_DeriveKey(partition.session, &ecdh, signing_key, template, 4, &key) == CKR_OK, "C_DeriveKey");
        need(list->C_DestroyObject(partition.session, key) == CKR_OK, "C_DestroyObject");
    }
    return now() - begin;
}

/* Bare and module in turns, so that both see the same machine; the median of the ratios of neighbours. */
static double ratio(run_through *run, size_t count)
{
    double ratios[RUNS];

    for (size_t i = 0; i < RUNS; i++) {
        double bare, ours;

        if (i % 2 == 0) {
            bare = run(partition.softhsm, count);
            ours = run(partition.module, count);
        } else {
            ours = run(partition.module, count);
            bare = run(partition.softhsm, count);
        }
        ratios[i] = bare / ours; /* of speeds */
    }
    return median(ratios, RUNS);
}

/* Make a token key through `list` and remove it again without counting that. */
static double generate(CK_FUNCTION_LIST_PTR list, size_t count)
{
    double times[COMMITS];

    for (size_t i = 0; i < count; i++) {
        CK_RV rv;
        double begin = now();
        CK_OBJECT_HANDLE key = make_aes(list, partition.session, true, "bench", &rv);

        times[i] = now() - begin;
        need(rv == CKR_OK, "C_GenerateKey");
        partition.softhsm->C_DestroyObject(partition.session, key);
    }
    return median(times, count);
}

static double added(run_through *run, size_t count)
{
    double differences[RUNS];

    for (size_t i = 0; i < RUNS; i++) {
        double bare = run(partition.softhsm, count);

        differences[i] = run(partition.module, count) - bare;
    }
    return median(differences, RUNS);
}

static void print_result(const char *name, double value, const char *unit, double goal, bool met, const char *how,
                         const char *end)
{
    printf("  \"%s\": {\"value\": %.4f, \"unit\": \"%s\", \"goal\": %.2f, \"met\": %s,\n    \"how\": \"%s\", "
           "\"runs\": %d}%s\n", name, value, unit, goal, met ? "true" : "false", how, RUNS, end);
}

int main(void)
{
    double signing, deriving, commit_us;

    partition_open(&partition);
    need(make_p256(partition.module, partition.session, true, true, "bench", &verifying_key, &signing_key)
             == CKR_OK, "a key pair");
    signing = ratio(sign, SIGNATURES);
    deriving = ratio(derive, DERIVATIONS);
    commit_us = added(generate, COMMITS) * 1e6;
    puts("{");
    print_result("sign_in_process_over_bare", signing, "ratio", 0.97, signing >= 0.97,
                 "P-256 C_SignInit + C_Sign per second through the module over bare SoftHSM, in turns in one process",
                 ",");
    print_result("derive_session_key_over_bare", deriving, "ratio", 0.90, deriving >= 0.90,
                 "ECDH C_DeriveKey + C_DestroyObject of a session key, the same way", ",");
    print_result("module_commit_added_us", commit_us, "us", 500, commit_us <= 500,
                 "C_GenerateKey of a token key through the module minus bare SoftHSM, an agent answering at once", "");
    puts("}");
    partition_close(&partition);
    return 0;
}
