#ifndef ftiny_maximum_f32x16
#define ftiny_maximum_f32x16
static inline float16 maximum_f32x16(float16 x, float16 y) {
    return select(y, x, (x > y) | (x != x));
}
#endif
#ifndef ftiny_maximum_f32x8
#define ftiny_maximum_f32x8
static inline float8 maximum_f32x8(float8 x, float8 y) {
    return select(y, x, (x > y) | (x != x));
}
#endif
#ifndef ftiny_maximum_f32x4
#define ftiny_maximum_f32x4
static inline float4 maximum_f32x4(float4 x, float4 y) {
    return select(y, x, (x > y) | (x != x));
}
#endif
#ifndef ftiny_maximum_f32x2
#define ftiny_maximum_f32x2
static inline float2 maximum_f32x2(float2 x, float2 y) {
    return select(y, x, (x > y) | (x != x));
}
#endif
#ifndef ftiny_maximum_f32
#define ftiny_maximum_f32
static inline float maximum_f32(float x, float y) {
    return ((x > y) || (x != x)) ? x : y;
}
#endif
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void softmax(__global const float* restrict x, __global float* restrict y) {
    const int group_0 = get_group_id(0);
    float e[77];
    for (int point = 0; point < 8; point++) {
        float16 m_v0 = (float16)(-INFINITY);
        float16 m_v1 = (float16)(-INFINITY);
        float16 m_v2 = (float16)(-INFINITY);
        float16 m_v3 = (float16)(-INFINITY);
        for (int jv = 0; jv < 1; jv++) {
            m_v0 = maximum_f32x16(m_v0, vload16(0, x + ((group_0 * 616) + (point * 77))));
            m_v1 = maximum_f32x16(m_v1, vload16(0, x + (((group_0 * 616) + (point * 77)) + 16)));
            m_v2 = maximum_f32x16(m_v2, vload16(0, x + (((group_0 * 616) + (point * 77)) + 32)));
            m_v3 = maximum_f32x16(m_v3, vload16(0, x + (((group_0 * 616) + (point * 77)) + 48)));
        }
        const float16 m_c16 = maximum_f32x16(m_v0, m_v1);
        const float16 m_c16_1 = maximum_f32x16(m_v2, m_v3);
        const float16 m_c16_2 = maximum_f32x16(m_c16, m_c16_1);
        const float8 m_c8 = maximum_f32x8(m_c16_2.lo, m_c16_2.hi);
        const float4 m_c4 = maximum_f32x4(m_c8.lo, m_c8.hi);
        const float2 m_c2 = maximum_f32x2(m_c4.lo, m_c4.hi);
        float m = maximum_f32(m_c2.lo, m_c2.hi);
        for (int jt = 64; jt < 77; jt++) {
            m = maximum_f32(m, x[((group_0 * 616) + (point * 77)) + jt]);
        }
        for (int jv_1 = 0; jv_1 < 4; jv_1++) {
            const int i0_ = jv_1 * 16;
            vstore16(exp(vload16(0, x + (((group_0 * 616) + (point * 77)) + i0_)) - m), 0, e + i0_);
        }
        for (int jt_1 = 64; jt_1 < 77; jt_1++) {
            e[jt_1] = exp(x[((group_0 * 616) + (point * 77)) + jt_1] - m);
        }
        float16 s_v0 = (float16)(0.0f);
        float16 s_v1 = (float16)(0.0f);
        float16 s_v2 = (float16)(0.0f);
        float16 s_v3 = (float16)(0.0f);
        for (int jv_2 = 0; jv_2 < 1; jv_2++) {
            s_v0 = s_v0 + vload16(0, e + 0);
            s_v1 = s_v1 + vload16(0, e + 16);
            s_v2 = s_v2 + vload16(0, e + 32);
            s_v3 = s_v3 + vload16(0, e + 48);
        }
        const float16 s_c16 = s_v0 + s_v1;
        const float16 s_c16_1 = s_v2 + s_v3;
        const float16 s_c16_2 = s_c16 + s_c16_1;
        const float8 s_c8 = s_c16_2.lo + s_c16_2.hi;
        const float4 s_c4 = s_c8.lo + s_c8.hi;
        const float2 s_c2 = s_c4.lo + s_c4.hi;
        float s = s_c2.lo + s_c2.hi;
        for (int jt_2 = 64; jt_2 < 77; jt_2++) {
            s = s + e[jt_2];
        }
        for (int jv_3 = 0; jv_3 < 4; jv_3++) {
            const int i1_ = jv_3 * 16;
            vstore16(vload16(0, e + i1_) / s, 0, y + (((group_0 * 616) + (point * 77)) + i1_));
        }
        for (int jt_3 = 64; jt_3 < 77; jt_3++) {
            y[((group_0 * 616) + (point * 77)) + jt_3] = e[jt_3] / s;
        }
    }
}
