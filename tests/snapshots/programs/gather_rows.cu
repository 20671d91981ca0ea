extern "C" __global__ void __launch_bounds__(128)
mul_7x64(const int* __restrict__ a0, const float* __restrict__ a1, float* __restrict__ a2) {
    const int group_0 = (int)blockIdx.x;
    const int local_0 = (int)threadIdx.x;
    const int i0_ = (group_0 * 128) + local_0;
    if (i0_ < 448) {
        const int i1_ = a0[(group_0 * 2) + (local_0 >> 6)];
        const int i2_ = (i1_ < 0) ? (i1_ + 50) : i1_;
        const float t0_ = ((i2_ >= 0) && (i2_ <= 49)) ? a1[(((long long)i2_) * ((long long)64)) + ((long long)(local_0 & 63))] : __int_as_float(0x7fc00000);
        a2[i0_] = t0_ * 2.0f;
    }
}
