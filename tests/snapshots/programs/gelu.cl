#ifndef ftiny_tanh_f32x16
#define ftiny_tanh_f32x16
static inline float16 tanh_f32x16(float16 x) {
    const float16 t0_ = fabs(x);
    const float16 t1_ = x * x;
    const float16 t2_ = (((((t1_ * (-0.0057049887f)) + 0.020639088f) * t1_) + (-0.053739715f)) * t1_) + 0.13331442f;
    const float16 t3_ = select(1.0f - (2.0f / (exp(t0_ + t0_) + 1.0f)), (((t2_ * t1_) + (-0.3333328f)) * (t1_ * t0_)) + t0_, t0_ < 0.625f);
    return as_float16((as_uint16(x) & 2147483648u) | as_uint16(t3_));
}
#endif
#ifndef ftiny_tanh_f32
#define ftiny_tanh_f32
static inline float tanh_f32(float x) {
    const float t0_ = fabs(x);
    const float t1_ = x * x;
    const float t2_ = (((((t1_ * (-0.0057049887f)) + 0.020639088f) * t1_) + (-0.053739715f)) * t1_) + 0.13331442f;
    const float t3_ = (t0_ < 0.625f) ? ((((t2_ * t1_) + (-0.3333328f)) * (t1_ * t0_)) + t0_) : (1.0f - (2.0f / (exp(t0_ + t0_) + 1.0f)));
    return as_float((as_uint(x) & 2147483648u) | as_uint(t3_));
}
#endif
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void mul_1000(__global const float* restrict a0, __global const float* restrict a1, __global float* restrict a2) {
    const int group_0 = get_group_id(0);
    for (int chunk = 0; chunk < 31; chunk++) {
        const float16 t0_ = vload16(0, a0 + ((group_0 * 496) + (chunk * 16))) * vload16(0, a1 + ((group_0 * 496) + (chunk * 16)));
        const float16 t1_ = t0_ + 1.0f;
        const float16 t2_ = t1_ * ((tanh_f32x16((t1_ + (((t1_ * t1_) * t1_) * 0.044715f)) * 0.7978846f) + 1.0f) * 0.5f);
        vstore16(t2_, 0, a2 + ((group_0 * 496) + (chunk * 16)));
    }
    if (group_0 >= 1) {
        for (int rest = 992; rest < 1000; rest++) {
            const float t3_ = (a0[rest] * a1[rest]) + 1.0f;
            const float t4_ = t3_ * ((tanh_f32((t3_ + (((t3_ * t3_) * t3_) * 0.044715f)) * 0.7978846f) + 1.0f) * 0.5f);
            a2[rest] = t4_;
        }
    }
}
